//! What one job needs: an export or an import that this process has claimed.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use contract::{DeploymentRef, Error};
use fair_queue::Place;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use transaction::Claim;
use value::DocumentId;
use zip::result::ZipError;

use crate::service::Shared;

/// Why a job ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What is asked for can't be. The sentence is for whoever asked.
    Refused(String),
    /// It is over or another process's, or this one stops: nothing is left to do.
    NotOurs,
    /// It can be tried again.
    Failed(Error),
}

pub(crate) type Result<T, E = Stop> = std::result::Result<T, E>;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<transaction::Error> for Stop {
    fn from(error: transaction::Error) -> Stop {
        match error {
            transaction::Error::User(error) => Stop::Refused(error.to_string()),
            transaction::Error::Service(error) => Stop::Failed(error),
        }
    }
}

impl From<system_transaction::Error> for Stop {
    fn from(error: system_transaction::Error) -> Stop {
        match error {
            system_transaction::Error::Operation(error) => error.into(),
            other => Stop::Failed(other.into()),
        }
    }
}

/// An export or import that this process works on. Its methods block: they are for threads that may.
#[derive(Clone)]
pub(crate) struct Job {
    pub shared: Arc<Shared>,
    pub deployment: DeploymentRef,
    /// The row.
    pub id: DocumentId,
    /// Cancelled when the claim is lost, and with the service.
    pub token: CancellationToken,
    pub runtime: tokio::runtime::Handle,
    /// Documents so far, for those who watch.
    pub progress: Arc<AtomicU64>,
    /// Among those that are worked on; none while it waits.
    pub place: Arc<Mutex<Option<Place>>>,
}

impl Job {
    /// Waits for something, unless the job ends before.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        self.runtime.block_on(self.token.run_until_cancelled(future)).ok_or(Stop::NotOurs)
    }

    /// Waits until there is a place.
    pub(crate) async fn take_place(&self) -> Result<()> {
        let taking = self.shared.places.take(self.deployment, 1);
        let place = self.token.run_until_cancelled(taking).await.ok_or(Stop::NotOurs)?;
        *self.place.lock() = Some(place);
        Ok(())
    }

    /// Lets others work while this waits for something.
    pub(crate) fn leave_place(&self) {
        *self.place.lock() = None;
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.token.is_cancelled() { Err(Stop::NotOurs) } else { Ok(()) }
    }

    pub(crate) fn is_mine(&self, claim: Option<Claim>) -> bool {
        is_of(claim, self.shared.holder)
    }

    pub(crate) fn advance(&self, documents: u64) {
        self.progress.fetch_add(documents, Ordering::Relaxed);
    }
}

/// Whether it is the claim of a process.
pub(crate) fn is_of(claim: Option<Claim>, holder: [u8; 16]) -> bool {
    claim.is_some_and(|claim| claim.holder == holder)
}

/// What went wrong with the bytes of an archive.
pub(crate) fn io_of(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        other => other.into(),
    }
}

/// An error on its way through a reader or writer of bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Carried(Stop);

impl Stop {
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(Carried(self))
    }

    /// What went wrong while bytes were read or written; what it was not told by this crate, `otherwise` says.
    pub(crate) fn of_io(error: io::Error, otherwise: impl FnOnce(io::Error) -> Stop) -> Stop {
        match error.downcast::<Carried>() {
            Ok(Carried(stop)) => stop,
            Err(error) => otherwise(error),
        }
    }
}
