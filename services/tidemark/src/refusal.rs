//! Why the program does not start, where somebody else or another setting can help.

use std::{net::SocketAddr, path::PathBuf};

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
}

fn holder(process: &Option<String>) -> String {
    process.as_ref().map(|process| format!(" by {process}")).unwrap_or_default()
}
