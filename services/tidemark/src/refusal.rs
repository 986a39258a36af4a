//! Why the program does not start, where somebody else or another setting can help.

use std::{net::SocketAddr, path::PathBuf};

use contract::NodeId;

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the folder {} is in use by another Tidemark{}; stop it or choose another folder with --data-dir", folder.display(), holder(.process))]
    FolderInUse { folder: PathBuf, process: Option<String> },
    #[error("the folder {} can't be used: {reason}", folder.display())]
    UnusableFolder { folder: PathBuf, reason: String },
    #[error("the address {address} is in use{}; stop it or choose another port with {flag}", holder(.process))]
    PortInUse { address: SocketAddr, process: Option<String>, flag: &'static str },
    #[error("the address {address} can't be listened on: {reason}")]
    UnusableAddress { address: SocketAddr, reason: String },
    #[error("the configuration can't be used: {0}")]
    Configuration(String),
    #[error("the blobs can't be kept where blobs_url says: {0}")]
    Blobs(String),
    #[error("SecretUnusable: the cluster's secret can't be read from {}: {reason}", file.display())]
    UnusableSecret { file: PathBuf, reason: String },
    #[error(
        "NodeNumberMissing: this node has no number yet: give it one by node.id or node.id_from_hostname"
    )]
    NoNodeNumber,
    #[error("NodeNumberDiffers: the data folder is of node {kept}, and this is to be node {given}")]
    OtherNode { given: NodeId, kept: NodeId },
    #[error("NodeNumberMissing: the name of this host, {0:?}, does not end with a number")]
    NoOrdinal(String),
    #[error(transparent)]
    Tls(#[from] mtls::Error),
}

fn holder(process: &Option<String>) -> String {
    process.as_ref().map(|process| format!(" by {process}")).unwrap_or_default()
}
