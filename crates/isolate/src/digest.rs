//! Message digests for `crypto.subtle.digest`.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// The digest of `bytes` in hexadecimal, by the name that the Web Cryptography API gives the algorithm; or JSON text
/// of an error.
pub fn hex(algorithm: &[u8], bytes: &[u8]) -> Result<String, String> {
    match algorithm {
        b"SHA-1" => {
            use sha1::Digest;
            Ok(hex::encode(sha1::Sha1::digest(bytes)))
        }
        b"SHA-256" => Ok(hex::encode(Sha256::digest(bytes))),
        b"SHA-384" => Ok(hex::encode(Sha384::digest(bytes))),
        b"SHA-512" => Ok(hex::encode(Sha512::digest(bytes))),
        other => Err(serde_json::json!({
            "message": format!("Unrecognized digest algorithm {}", String::from_utf8_lossy(other)),
            "name": "NotSupportedError",
        })
        .to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_empty_message_are_the_known_ones() {
        assert_eq!(hex(b"SHA-1", b"").expect("known"), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert!(hex(b"SHA-256", b"").expect("known").starts_with("e3b0c44298fc1c14"));
        assert!(hex(b"SHA-384", b"").expect("known").starts_with("38b060a751ac9638"));
        assert!(hex(b"SHA-512", b"").expect("known").starts_with("cf83e1357eefb8bd"));
        assert!(hex(b"MD5", b"").is_err());
    }
}
