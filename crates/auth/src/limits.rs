//! What tokens and their providers may use.

use limits::{KIB, group};

/// By how much a custom issuer's clock may be behind or before ours, and how long a token of it is taken after its end. Tokens
/// of OIDC providers end when they say so.
pub(crate) const CLOCK_LEEWAY_SECONDS: f64 = 5.0;

/// Bits of an RSA key: RFC 7518 (3.3) wants 2,048 or more; the work grows with the square.
pub(crate) const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

group! {
    auth:
    /// Tokens, their providers and the providers' keys.
    pub struct AuthLimits {
        /// Bytes of a token. Larger ones don't fit into the headers that servers and proxies take.
        token_bytes_max: usize = 16 * KIB,
        /// Providers of an app: each may have to be asked for its keys.
        providers_max: usize = 64,
        /// Bytes of a discovery document or a key set.
        document_bytes_max: usize = 512 * KIB,
        /// Keys of one set: a token without a key id may fit any of them.
        keys_max: usize = 256,
        /// How long keys are used before they are fetched again, where their server does not say.
        fresh_ms: u64 = 5 * 60 * 1_000,
        /// The same at least, whatever the server says: many tokens in one moment need one request.
        fresh_ms_min: u64 = 10_000,
        /// The same at most, whatever the server says: a key that its owner has withdrawn is used no longer.
        fresh_ms_max: u64 = 60 * 60 * 1_000,
        /// How long keys that can't be fetched again are used on.
        stale_ms_max: u64 = 24 * 60 * 60 * 1_000,
        /// Shortest time between two requests for the sake of a token with a key that is not known: anybody can make one up.
        unknown_key_ms_min: u64 = 10_000,
        /// How long an answer may take; then the request counts as failed.
        fetch_ms_max: u64 = 10_000,
        /// First pause after a failed request; each is twice as long as the one before.
        retry_ms_min: u64 = 1_000,
        /// Longest such pause.
        retry_ms_max: u64 = 60_000,
    }
}
