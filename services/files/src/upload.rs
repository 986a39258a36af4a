//! A file on its way in.

use std::sync::Arc;

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use contract::{DeploymentRef, Error, FileUpload, NewFile, ObjectSummary, ObjectWriter, Result, Uploader};
use system_transaction::{self as transactions, Result as Transacted, Work};
use tokio::task::JoinHandle;
use transaction::{FileRow, Transaction, object_name};
use value::{ComponentId, DocumentId};

use crate::service::Shared;

pub(crate) async fn begin(shared: Arc<Shared>, upload: NewFile) -> Result<Box<dyn FileUpload>> {
    let NewFile { deployment, by, content_type, sha256 } = upload;
    let bytes_max = shared.limits.content_type_bytes_max;
    if content_type.as_ref().is_some_and(|text| !is_content_type(text, bytes_max)) {
        let message = format!("The media type of a file is printable ASCII of at most {bytes_max} bytes.");
        return Err(Error::bad_request("InvalidContentType", message));
    }
    let noting = Note { by: &by, url_age_ms_max: shared.limits.url_age_ms_max };
    let (component, object) = shared.transactions.transact(deployment, &noting).await?;
    shared.metrics.uploads_begun.add(1);
    let place = Place { deployment, component, object };
    let mut upload = Upload {
        shared,
        place,
        content_type,
        sha256,
        size_bytes: 0,
        writer: None,
        finishing: None,
        is_settled: false,
    };
    upload.writer = Some(upload.shared.objects.create(place.name()).await?);
    Ok(Box::new(upload))
}

/// It is sent back as a header, which nothing in it may end.
fn is_content_type(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[derive(Clone, Copy)]
struct Place {
    deployment: DeploymentRef,
    component: ComponentId,
    /// The row that notes the object.
    object: DocumentId,
}

impl Place {
    fn name(self) -> contract::ObjectName {
        object_name(self.deployment, self.component, self.object)
    }
}

struct Upload {
    shared: Arc<Shared>,
    place: Place,
    content_type: Option<String>,
    sha256: Option<[u8; 32]>,
    size_bytes: u64,
    /// There until the object is finished or given up.
    writer: Option<Box<dyn ObjectWriter>>,
    /// While the object gets its name. That goes on when nobody waits for it any more.
    finishing: Option<JoinHandle<Result<ObjectSummary>>>,
    /// From here on the rows say what becomes of the object.
    is_settled: bool,
}

impl Upload {
    fn writer(&mut self) -> Result<&mut Box<dyn ObjectWriter>> {
        self.writer.as_mut().ok_or_else(|| Error::internal("a file was written to after an error"))
    }

    fn check_digest(&self, stored: &ObjectSummary) -> Result<()> {
        match self.sha256 {
            Some(expected) if expected != stored.sha256 => {
                let (expected, actual) = (BASE64.encode(expected), BASE64.encode(stored.sha256));
                let message = format!("Sha256 mismatch. Expected: {expected} Actual: {actual}");
                Err(Error::bad_request("Sha256Mismatch", message))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl FileUpload for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let count = bytes.len() as u64;
        self.size_bytes += count;
        let bytes_max = self.shared.limits.file_bytes_max;
        if self.size_bytes > bytes_max {
            return Err(too_large(bytes_max));
        }
        self.shared.metrics.bytes_stored.add(count);
        self.writer()?.write(bytes).await
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        self.writer()?;
        let writer = self.writer.take().expect("it was just there");
        // A task of its own: whoever clears up must know when there is a name to be cleared, or none will come.
        let finishing = self.shared.tasks.spawn_on(writer.finish(), &self.shared.runtime);
        let finished = self.finishing.insert(finishing).await;
        self.finishing = None;
        let stored = finished.expect("a panic ends the process")?;
        self.check_digest(&stored)?;
        let Place { deployment, component, object } = self.place;
        let file = FileRow {
            component,
            sha256: stored.sha256,
            size_bytes: stored.size_bytes,
            content_type: self.content_type.take(),
        };
        // A commit whose answer is lost may have been made: then the object is the file's.
        self.is_settled = true;
        let kept = self.shared.transactions.transact(deployment, &Keep { object, file }).await;
        // Then nobody else will delete what has just got its name.
        let is_refused = matches!(&kept, Err(transactions::Error::Operation(transaction::Error::User(_))));
        self.is_settled = !is_refused;
        let id = kept?;
        self.shared.metrics.uploads_kept.add(1);
        Ok(String::from(id))
    }
}

pub(crate) fn too_large(bytes_max: u64) -> Error {
    Error::bad_request("FileTooLarge", format!("A file has at most {bytes_max} bytes."))
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        self.shared.metrics.uploads_cut_off.add(1);
        // What was written goes before its note does.
        let (writer, finishing) = (self.writer.take(), self.finishing.take());
        let (shared, place) = (self.shared.clone(), self.place);
        self.shared.tasks.spawn_on(
            async move {
                drop(writer);
                if let Some(finishing) = finishing
                    && let Err(error) = finishing.await
                {
                    // Its note stays: the object may get its name yet.
                    tracing::debug!("an upload whose end is not known is left to the sweep: {error}");
                    return;
                }
                if let Err(error) = clear(&shared, place).await {
                    tracing::debug!("an upload that was cut off is left to the sweep: {error}");
                }
            },
            &self.shared.runtime,
        );
    }
}

async fn clear(shared: &Shared, place: Place) -> Result<()> {
    shared.objects.delete(place.name()).await?;
    Ok(shared.transactions.transact(place.deployment, &Forget(&[place.object])).await?)
}

/// Notes an object before its first byte is stored. The component may have been unmounted since its function made the upload's URL.
struct Note<'u> {
    by: &'u Uploader,
    url_age_ms_max: u64,
}

#[async_trait]
impl Work for Note<'_> {
    type Output = (ComponentId, DocumentId);

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Self::Output> {
        let component = match self.by {
            Uploader::Token(token) => transaction.granted_component(token, self.url_age_ms_max)?,
            Uploader::Function { component } => component
                .parse()
                .map_err(|_| Error::internal(format!("`{component}` is the id of no component")))?,
        };
        transaction.check_mounted(component)?;
        Ok((component, transaction.note_object(component).await?))
    }
}

/// Makes a file of an object, unless its component was unmounted meanwhile.
struct Keep {
    object: DocumentId,
    file: FileRow,
}

#[async_trait]
impl Work for Keep {
    type Output = DocumentId;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Self::Output> {
        transaction.check_mounted(self.file.component)?;
        Ok(transaction.keep_file(self.object, &self.file).await?)
    }
}

/// Forgets objects whose bytes are deleted.
pub(crate) struct Forget<'o>(pub &'o [DocumentId]);

#[async_trait]
impl Work for Forget<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        for object in self.0 {
            transaction.forget_object(*object).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_can_end_no_header() {
        for fits in ["", "image/png", "text/plain; charset=\"utf-8\"", "anything at all"] {
            assert!(is_content_type(fits, 100), "{fits}");
        }
        for bad in ["text/html\r\nSet-Cookie: a=b", "a\n", "\t", "\u{7f}", "é", &"a".repeat(101)] {
            assert!(!is_content_type(bad, 100), "{bad:?}");
        }
    }
}
