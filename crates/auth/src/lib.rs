//! Identity tokens: from a text that a client sends to what functions see of its user.
//!
//! 1. [`Providers`] are what an app's `auth.config` allows to issue tokens; reading them is part of a push.
//! 2. A [`Token`] is taken apart. Nothing that it says is believed yet.
//! 3. [`Providers::find`] names the provider that the token claims to come from.
//! 4. A [`KeyCache`] per [`KeySource`] says what to fetch to have the provider's [`KeySet`], and when to serve what it has.
//! 5. [`Provider::verify`] holds the token against the keys, its audience and the time, and makes a [`Verified`] identity of
//!    its claims.
//!
//! The keys decide the algorithm, never the token: each kind of key verifies one algorithm, and a provider allows what its
//! kind allows. Signatures are the RustCrypto crates'; why those, is in `docs/decisions/0025-identity-tokens.md`.
//!
//! This crate knows nothing of HTTP, clocks or tasks: who fetches is told what, and passes in what came and what time it is.
//! Neither texts of errors nor `Debug` show a token or its user.

mod algorithm;
mod cache;
mod claims;
mod document;
mod error;
mod issuer;
mod keys;
mod limits;
mod provider;
mod token;

pub use algorithm::Algorithm;
pub use cache::{Answer, Fetch, KeyCache, Keys, Step};
pub use claims::Verified;
pub use error::{AuthError, ConfigError, ProviderKind, Refusal};
pub use keys::KeySet;
pub use limits::AuthLimits;
pub use provider::{KeySource, Provider, Providers};
pub use token::Token;
