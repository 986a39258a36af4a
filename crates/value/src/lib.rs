//! Convex values: types, encodings, order, index keys, ids and sizes.
//!
//! A [`Value`] is what functions take, return and store. It has three encodings:
//!
//! * JSON text ([`JsonFormat`]), parsed strictly and written canonically: equal values give equal text, so text can
//!   be compared, hashed and stored;
//! * index keys ([`key`]): bytes whose order is the order of the values;
//! * its size in bytes ([`Value::size_bytes`]), which limits count and which depends on no encoding.
//!
//! Values have one total order across all types ([`Ord`] of [`Value`]). A field that is missing is `None` wherever an
//! `Option<&Value>` is taken; it sorts before every value.
//!
//! Documents are named by a [`DocumentId`], whose text form is what applications see; tables, indexes, fields and
//! functions by the types of [`name`] and [`path`], which cannot hold an illegal name.
//!
//! This crate knows nothing of schemas, transactions or storage.

#![warn(missing_docs)]

#[macro_use]
mod object;
mod document;
mod error;
mod field_path;
pub mod id;
mod json;
pub mod key;
mod limits;
pub mod name;
mod order;
pub mod path;
#[cfg(test)]
mod properties;
mod size;
mod value;

pub use crate::limits::{
    ARRAY_LENGTH_MAX, FIELD_NAME_CHARS_MAX, IDENTIFIER_CHARS_MAX, OBJECT_FIELDS_MAX, VALUE_NESTING_MAX,
    ValueLimits,
};
pub use document::{CREATION_TIME_FIELD, ID_FIELD, check_document};
pub use error::ValueError;
pub use field_path::FieldPath;
pub use id::{DocumentId, IdError, InternalId, TableNumber};
pub use json::{
    COMMIT_TIMESTAMP_JSON, JsonFormat, Patch, ValueOrUndefined, push_with_fractions, resolve_commit_timestamp,
};
pub use name::{FieldName, IndexName, TableName};
pub use object::Object;
pub use path::{ComponentId, ComponentPath, FunctionHandle, FunctionPath, ModulePath};
pub use value::Value;
