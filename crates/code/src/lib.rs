//! The identity of deployed code: what it is made of, and the names that follow from that.
//!
//! A push evaluates code and deploys it; calls evaluate it again, on other nodes and after restarts. Both must mean the
//! same by it, or a push would be served by another image than the one that it has checked. What that is stands here
//! once: an [`ImageRecipe`] for the memory of evaluated code, [`CodeHash`] for everything that a push can change.
//!
//! This crate knows nothing of engines or bundles' texts.

mod hashes;
mod modules;
mod recipe;

pub use hashes::{CodeHash, Sha256Digest, environment_hash, module_hash};
pub use modules::{AUTH_CONFIG_MODULE, is_in_image, is_shared_chunk};
pub use recipe::{ImageKey, ImageRecipe, expand_seed};
