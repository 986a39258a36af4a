//! Which connection is a session's newest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contract::DeploymentRef;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The live connections by their session ids. A client has one connection at a time: where a second one appears with the
/// same id, the first is dead and its client just could not say so.
#[derive(Default)]
pub(crate) struct Sessions {
    connections: Arc<Mutex<Connections>>,
}

/// Clients choose the ids, so those of one deployment say nothing about another's.
type Session = (DeploymentRef, Uuid);

#[derive(Default)]
struct Connections {
    by_session: HashMap<Session, (u64, CancellationToken)>,
    next_number: u64,
}

/// A connection's place among them, given up when dropped.
pub(super) struct Registration {
    connections: Arc<Mutex<Connections>>,
    session: Session,
    number: u64,
    ended: CancellationToken,
}

impl Sessions {
    /// Registers a connection, and tells the one before it to end. All end with `gone`, that of the deployment.
    pub(super) fn register(
        &self,
        deployment: DeploymentRef,
        session: Uuid,
        gone: &CancellationToken,
    ) -> Registration {
        let session = (deployment, session);
        let ended = gone.child_token();
        let mut connections = lock(&self.connections);
        let number = connections.next_number;
        connections.next_number += 1;
        if let Some((_, before)) = connections.by_session.insert(session, (number, ended.clone())) {
            before.cancel();
        }
        drop(connections);
        Registration { connections: self.connections.clone(), session, number, ended }
    }
}

impl Registration {
    /// Cancelled when a newer connection has the same session, when the deployment is deleted, and at the shutdown.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut connections = lock(&self.connections);
        if connections.by_session.get(&self.session).is_some_and(|(number, _)| *number == self.number) {
            connections.by_session.remove(&self.session);
        }
    }
}

/// Every change is complete before the lock is released, so a panic elsewhere leaves nothing half done.
fn lock(connections: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    #[test]
    fn a_newer_connection_ends_the_older_one_and_outlives_its_registration() {
        let (sessions, shutdown) = (Sessions::default(), CancellationToken::new());
        let [here, elsewhere] =
            [1, 2].map(|number| DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) });
        let session = Uuid::from_u128(1);
        let first = sessions.register(here, session, &shutdown);
        let others = (
            sessions.register(here, Uuid::from_u128(2), &shutdown),
            sessions.register(elsewhere, session, &shutdown),
        );
        let second = sessions.register(here, session, &shutdown);
        assert!(first.ended().is_cancelled() && !second.ended().is_cancelled());
        assert!(!others.0.ended().is_cancelled() && !others.1.ended().is_cancelled());
        drop(first);
        let third = sessions.register(here, session, &shutdown);
        assert!(second.ended().is_cancelled(), "dropping the first did not remove the second");
        shutdown.cancel();
        assert!(third.ended().is_cancelled() && others.1.ended().is_cancelled());
        drop((second, third, others));
        assert!(lock(&sessions.connections).by_session.is_empty());
    }
}
