//! What an operation may cost. Fixed: no operator has a reason to change them, and nothing that was stored depends on
//! them.

/// Fewest bits of an RSA modulus: what is smaller can be factored.
pub const RSA_MODULUS_BITS_MIN: u32 = 1024;

/// Most bits of an RSA modulus. One signature takes a tenth of a second with it, and eight times as long whenever
/// the modulus doubles.
pub const RSA_MODULUS_BITS_MAX: u32 = 8192;

/// Most bits of an RSA modulus that is generated here: a second or two. The time varies by luck, and grows by sixteen
/// whenever the modulus doubles.
pub const RSA_GENERATED_BITS_MAX: u32 = 4096;

/// Most bytes that one derivation answers by PBKDF2 and HKDF, beside HKDF's own limit of 255 blocks.
pub const DERIVED_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a key that is generated: one for HMAC; more than a block of the hash gains nothing.
pub const GENERATED_SECRET_BYTES_MAX: usize = 1 << 16;
