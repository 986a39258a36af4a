//! Hash functions.

use serde::{Deserialize, Serialize};
use sha2::Digest;

/// A hash function, alone or as a part of another algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hash {
    #[serde(rename = "SHA-1")]
    Sha1,
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "SHA-384")]
    Sha384,
    #[serde(rename = "SHA-512")]
    Sha512,
}

/// Evaluates `$body` with `$Digest` being the type that computes `$hash`.
macro_rules! with_digest {
    ($hash:expr, $Digest:ident => $body:expr) => {
        match $hash {
            $crate::Hash::Sha1 => {
                type $Digest = sha1::Sha1;
                $body
            }
            $crate::Hash::Sha256 => {
                type $Digest = sha2::Sha256;
                $body
            }
            $crate::Hash::Sha384 => {
                type $Digest = sha2::Sha384;
                $body
            }
            $crate::Hash::Sha512 => {
                type $Digest = sha2::Sha512;
                $body
            }
        }
    };
}
pub(crate) use with_digest;

impl Hash {
    pub const ALL: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        with_digest!(self, D => D::digest(message).to_vec())
    }

    /// How long a digest is.
    pub fn output_bytes(self) -> usize {
        with_digest!(self, D => <D as Digest>::output_size())
    }
}
