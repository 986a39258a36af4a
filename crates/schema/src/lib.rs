//! Schemas and validators: parsing, checking and comparing them.
//!
//! A [`Validator`] says which values a function takes or returns, or which documents a table holds. It is read from
//! the JSON that the client library exports ([`Validator::from_json`]) and checks values ([`Validator::check`]); a
//! failure ([`ValidationFailure`]) tells path, value and validator. [`Validator::is_superset_of`] proves that a check of
//! existing data can be skipped.
//!
//! A [`DatabaseSchema`] holds the tables, their document types and indexes. Parsing enforces every rule that needs no
//! data; what breaks one is a [`SchemaError`] with a stable code. Both have one canonical JSON text.
//!
//! This crate knows nothing of stored documents or of pushes: who has the data walks it, with
//! [`TableSchema::check_document`].

mod check;
mod definition;
mod display;
mod error;
mod index;
mod json;
mod limits;
#[cfg(test)]
mod properties;
mod superset;
mod validator;

pub use crate::limits::SchemaLimits;
pub use check::{TableLookup, ValidationFailure};
pub use definition::{DatabaseSchema, TableSchema};
pub use error::SchemaError;
pub use index::{IndexDefinition, SearchIndexDefinition, VectorIndexDefinition};
pub use validator::{FieldValidator, FunctionKind, FunctionSignature, Validator};
