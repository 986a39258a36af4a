//! How other nodes are reached. Whoever starts the service says: by which certificates, or over which network of a test.

use std::{fmt, io, sync::Arc};

use contract::NodeId;
use tonic::transport::Channel;

/// What a connection is for. Each has one of its own: no heartbeat waits behind entries, no entry behind a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Entries of the log, and votes.
    Entries,
    /// Signs of life.
    Heartbeats,
    /// The state of whole groups.
    Snapshots,
}

/// What goes over a connection.
#[cfg(not(test))]
pub(crate) type Wire = rpc::Resending<Channel>;
/// What goes over a connection, which may be a simulated one.
#[cfg(test)]
pub(crate) use crate::simulation::wire::Wire;

/// Makes connections to other nodes' internal services.
#[derive(Clone)]
pub struct Channels(Arc<Connect>);

type Connect = dyn Fn(Option<NodeId>, &str, Purpose) -> io::Result<Wire> + Send + Sync;

impl Channels {
    /// `connect` is given the node that must answer (`None`: whoever does), its address as `host:port`, and what for. It must
    /// not wait: a channel connects when it is used, and again when the connection broke. The channel is kept as long as
    /// the node has this address.
    pub fn new(
        connect: impl Fn(Option<NodeId>, &str, Purpose) -> io::Result<Channel> + Send + Sync + 'static,
    ) -> Channels {
        #[cfg(not(test))]
        let connect = move |node, address: &str, purpose| connect(node, address, purpose).map(Wire::new);
        #[cfg(test)]
        let connect = move |node, address: &str, purpose| connect(node, address, purpose).map(Wire::Tonic);
        Channels(Arc::new(connect))
    }

    /// Over connections that a test simulates.
    #[cfg(test)]
    pub(crate) fn simulated(
        connect: impl Fn(Option<NodeId>, &str, Purpose) -> io::Result<Wire> + Send + Sync + 'static,
    ) -> Channels {
        Channels(Arc::new(connect))
    }

    /// Of a node that is alone.
    pub fn none() -> Channels {
        Channels::new(|_, _, _| {
            Err(io::Error::new(io::ErrorKind::NotConnected, "this node knows no way to other nodes"))
        })
    }

    pub(crate) fn connect(&self, node: Option<NodeId>, address: &str, purpose: Purpose) -> io::Result<Wire> {
        (self.0)(node, address, purpose)
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Channels")
    }
}
