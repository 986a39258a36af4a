//! A part of an upload on its way in.
//!
//! Its object is noted before its first byte is stored, and becomes one of the import's when its last one is. What something cuts off
//! is left to those who look for bytes that nobody has.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{DeploymentRef, Error, ObjectWriter, PartUpload, Result};
use system_transaction::{Result as Transacted, Work};
use transaction::{FileObjectRow, FileState, ImportState, Transaction, object_name};
use value::{ComponentId, DocumentId};

use crate::service::{Shared, import_row};

pub(crate) async fn begin(
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    import: DocumentId,
    number: u32,
) -> Result<Box<dyn PartUpload>> {
    let parts_max = shared.limits.parts_max;
    if number == 0 || number > parts_max {
        let message = format!("The parts of an upload have the numbers 1 to {parts_max}.");
        return Err(Error::bad_request("InvalidImport", message));
    }
    let object = shared.transactions.transact(deployment, &Note { import }).await?;
    let writer = shared.objects.create(object_name(deployment, ComponentId::ROOT, object)).await?;
    Ok(Box::new(Part { shared, deployment, import, number, object, size_bytes: 0, writer }))
}

struct Part {
    shared: Arc<Shared>,
    deployment: DeploymentRef,
    import: DocumentId,
    number: u32,
    object: DocumentId,
    size_bytes: u64,
    writer: Box<dyn ObjectWriter>,
}

#[async_trait]
impl PartUpload for Part {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size_bytes += bytes.len() as u64;
        let bytes_max = self.shared.limits.part_bytes_max;
        if self.size_bytes > bytes_max {
            let message = format!("A part of an upload has at most {bytes_max} bytes.");
            return Err(Error::bad_request("ImportTooLarge", message));
        }
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let Part { shared, deployment, import, number, object, writer, .. } = *self;
        writer.finish().await?;
        shared.transactions.transact(deployment, &Keep { import, number, object }).await?;
        Ok(object.to_string())
    }
}

async fn require_uploading(transaction: &mut Transaction, import: DocumentId) -> Transacted<()> {
    match import_row(transaction, import).await?.state {
        ImportState::Uploading => Ok(()),
        _ => Err(Error::bad_request("InvalidImport", "The upload is finished.").into()),
    }
}

struct Note {
    import: DocumentId,
}

#[async_trait]
impl Work for Note {
    type Output = DocumentId;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<DocumentId> {
        require_uploading(transaction, self.import).await?;
        Ok(transaction.note_object(ComponentId::ROOT).await?)
    }
}

struct Keep {
    import: DocumentId,
    number: u32,
    object: DocumentId,
}

#[async_trait]
impl Work for Keep {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        require_uploading(transaction, self.import).await?;
        let row = transaction.row::<FileObjectRow>(self.object).await?;
        if row.is_none_or(|row| row.state != FileState::Arriving) {
            return Err(Error::bad_request("InvalidImport", "The part took longer than it may.").into());
        }
        let state = FileState::Part { of: self.import.internal_id, number: self.number };
        Ok(transaction.set_object_state(self.object, state).await?)
    }
}
