//! The operations of the [Web Cryptography API](https://w3c.github.io/webcrypto/), from bytes to bytes.
//!
//! Two ways in. The types of keys ([`AesKey`], [`SecretKey`], [`RsaPrivateKey`], [`EcPublicKey`], …) have the
//! operations as methods, each with its parameters as types. A [`Request`] is one such operation as data: text of its
//! parameters and the bytes that it is about, answered by an [`Answer`]. It is for callers on the other side of a
//! border that only text and bytes cross, and who keep their [`Key`]s there.
//!
//! What is *not* here: dictionaries and their normalisation, usages, `extractable`, promises. They belong to whoever
//! offers the interface.
//!
//! Randomness is a parameter wherever it is needed; nothing draws it by itself. So is the end of what could take
//! seconds or minutes: it asks [`IsOver`] again and again. Everything else is bounded by [limits].
//!
//! This crate knows nothing of JavaScript, clocks, or tasks.

mod block_cipher;
mod curve25519;
mod derivation;
mod elliptic;
mod error;
mod hash;
mod jwk;
mod key;
pub mod limits;
mod request;
mod rsa_key;
mod secret;
mod text;

pub use block_cipher::{AesKey, AesLength, CounterBits, Gcm, TagLength};
pub use curve25519::{Ed25519PrivateKey, Ed25519PublicKey, X25519PrivateKey, X25519PublicKey};
pub use derivation::{Hkdf, Pbkdf2};
pub use elliptic::{Curve, EcPrivateKey, EcPublicKey};
pub use error::Error;
pub use hash::Hash;
pub use jwk::Jwk;
pub use key::{Key, KeyFormat, KeyKind, KeyType};
pub use request::{Answer, Cipher, Derivation, MalformedRequest, Operation, Request, SignatureScheme};
pub use rsa_key::{RsaPrivateKey, RsaPublicKey};
pub use secret::SecretKey;
pub use text::{Base64, Base64Url};

/// Asked every millisecond or so by what could take long. True ends it with [`Error::OutOfTime`].
pub type IsOver<'a> = &'a dyn Fn() -> bool;

/// What randomness must be able to do.
pub use rsa::rand_core::CryptoRng;
