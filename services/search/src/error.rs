//! What goes wrong within an index.

use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An index can't be read or written. It is derived, so it is made anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a file of an index can't be read or written: {0}")]
    File(#[from] io::Error),
    #[error("a text index can't be read or written: {0}")]
    Text(#[from] tantivy::TantivyError),
    #[error("a graph of vectors can't be made or searched: {0}")]
    Graph(String),
    #[error("the files of an index are damaged: {0}")]
    Damaged(String),
}

pub fn graph(error: impl std::fmt::Display) -> Error {
    Error::Graph(error.to_string())
}

pub fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged(what.into())
}
