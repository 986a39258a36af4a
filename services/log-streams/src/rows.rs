//! Log streams as rows of their deployment.

use async_trait::async_trait;
use contract::{DeploymentRef, Error, ErrorKind, Result};
use system_transaction::{Error as TransactionError, Result as Transacted, Work};
use transaction::{LogStreamRow, LogStreamState, Stored, Transaction};
use value::DocumentId;

use crate::{configuration::Secrets, seal::Seal};

/// A stream, opened.
#[derive(Clone)]
pub(crate) struct LogStream {
    pub id: DocumentId,
    pub secrets: Secrets,
    /// As they lie in the row: each change seals them differently.
    pub sealed: Vec<u8>,
    pub state: LogStreamState,
}

impl LogStream {
    pub fn open(seal: &Seal, deployment: DeploymentRef, stored: Stored<LogStreamRow>) -> Result<LogStream> {
        let plain = seal.open(deployment, &stored.row.sealed)?;
        let secrets = serde_json::from_slice(&plain)
            .map_err(|_| Error::internal("the configuration of a log stream is not known to this version"))?;
        Ok(LogStream { id: stored.id, secrets, sealed: stored.row.sealed, state: stored.row.state })
    }
}

pub(crate) fn sealed(seal: &Seal, deployment: DeploymentRef, secrets: &Secrets) -> Vec<u8> {
    seal.close(deployment, &serde_json::to_vec(secrets).expect("it has string keys"))
}

pub(crate) fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "LogStreamNotFound", "There is no log stream with this id.")
}

/// All streams of a transaction's deployment.
pub(crate) async fn all(
    seal: &Seal,
    deployment: DeploymentRef,
    transaction: &mut Transaction,
) -> Result<Vec<LogStream>> {
    let rows = transaction.rows::<LogStreamRow>("by_creation_time", &[]).await;
    let rows = rows.map_err(transaction::Error::of_the_system)?;
    rows.into_iter().map(|stored| LogStream::open(seal, deployment, stored)).collect()
}

pub(crate) struct Insert<'s> {
    pub kind: &'s str,
    pub sealed: Vec<u8>,
}

#[async_trait]
impl Work for Insert<'_> {
    type Output = DocumentId;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<DocumentId> {
        let rows = transaction.rows::<LogStreamRow>("by_creation_time", &[]).await?;
        if rows.iter().any(|stored| stored.row.kind == self.kind) {
            let message = format!("This deployment has a log stream of the type {} already.", self.kind);
            return Err(TransactionError::Refused(Error::bad_request("LogStreamExists", message)));
        }
        let row = LogStreamRow {
            kind: self.kind.to_owned(),
            sealed: self.sealed.clone(),
            state: LogStreamState::Pending,
        };
        Ok(transaction.insert_row(&row).await?)
    }
}

/// Changes what is sealed. Nobody else has changed it in between.
pub(crate) struct Replace<'s, F> {
    pub seal: &'s Seal,
    pub deployment: DeploymentRef,
    pub id: DocumentId,
    pub change: F,
}

#[async_trait]
impl<F> Work for Replace<'_, F>
where
    F: Fn(Secrets) -> Result<Secrets> + Send + Sync,
{
    type Output = LogStream;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<LogStream> {
        let row = transaction.row::<LogStreamRow>(self.id).await?;
        let row = row.ok_or_else(|| TransactionError::Refused(not_found()))?;
        let stream = LogStream::open(self.seal, self.deployment, Stored { id: self.id, row: row.clone() })?;
        let secrets = (self.change)(stream.secrets)?;
        let row = LogStreamRow {
            kind: row.kind,
            sealed: sealed(self.seal, self.deployment, &secrets),
            state: LogStreamState::Restarting,
        };
        transaction.replace_row(self.id, &row).await?;
        Ok(LogStream { id: self.id, secrets, sealed: row.sealed, state: row.state })
    }
}

pub(crate) struct Delete {
    pub id: DocumentId,
}

#[async_trait]
impl Work for Delete {
    /// Of which kind it was.
    type Output = String;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<String> {
        let row = transaction.row::<LogStreamRow>(self.id).await?;
        let row = row.ok_or_else(|| TransactionError::Refused(not_found()))?;
        transaction.delete_row::<LogStreamRow>(self.id).await?;
        Ok(row.kind)
    }
}

/// Enters whether a stream works. One that is gone stays so, and one that was changed since says nothing of what was tried before.
pub(crate) struct Enter {
    pub id: DocumentId,
    /// What was tried.
    pub sealed: Vec<u8>,
    /// It was only tried whether the receiver takes anything. If it has taken events meanwhile, it does.
    pub is_greeting: bool,
    pub state: LogStreamState,
}

#[async_trait]
impl Work for Enter {
    /// Whether the stream is as it was tried.
    type Output = bool;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<bool> {
        let row = transaction.row::<LogStreamRow>(self.id).await?;
        let Some(row) = row.filter(|row| row.sealed == self.sealed) else { return Ok(false) };
        let stays = row.state == self.state || self.is_greeting && row.state == LogStreamState::Active;
        if !stays {
            transaction.replace_row(self.id, &LogStreamRow { state: self.state.clone(), ..row }).await?;
        }
        Ok(true)
    }
}
