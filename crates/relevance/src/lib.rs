//! The rules of text search: which terms a text has, which of them a query asks for, and how well a document answers it.
//!
//! Whoever writes a document, whoever keeps an index and whoever searches in a transaction use the same functions, so that a score is a
//! function of the query, the document and the [`Statistics`], to its last bit, wherever the document lies.
//!
//! A text's [tokens](tokens) are its runs of letters and digits in lower case. A [query](query_terms) is for documents with any of its terms; the last one
//! stands for all terms that begin with it. The [score](Weight::score) is that of Okapi BM25.
//!
//! This crate knows nothing of indexes, transactions or storage.

#![warn(missing_docs)]

mod filter;
mod score;
mod terms;

pub use filter::{FILTER_BYTES, filter_value};
pub use score::{Norms, Statistics, Weight, length_of, norm_of};
pub use terms::{DocumentTerms, QueryTerms, TOKEN_BYTES_END, query_terms, tokens};
