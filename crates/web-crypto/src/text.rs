//! Bytes in JSON: base64 as requests and answers have them, base64url as JSON Web Keys have them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! bytes_in_text {
    ($(#[$attribute:meta])* $name:ident by $engine:expr) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub Vec<u8>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$engine.encode(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $engine.decode(text).map($name).map_err(D::Error::custom)
            }
        }
    };
}

bytes_in_text! {
    /// Bytes that are base64 in JSON.
    Base64 by STANDARD
}

bytes_in_text! {
    /// Bytes that are base64url without padding in JSON.
    Base64Url by URL_SAFE_NO_PAD
}

/// Base64 of an answer's bytes.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
