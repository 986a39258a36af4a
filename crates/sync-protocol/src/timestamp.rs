//! Timestamps on the wire.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Nanoseconds since the Unix epoch, at most `i64::MAX`. On the wire: standard base64, with padding, of the eight
/// little-endian bytes, because JavaScript's numbers can't hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// `None` above `i64::MAX`, which the Rust clients refuse.
    pub fn new(nanoseconds: u64) -> Option<Timestamp> {
        (nanoseconds <= i64::MAX as u64).then_some(Timestamp(nanoseconds))
    }

    pub fn as_nanoseconds(self) -> u64 {
        self.0
    }

    pub fn encode(self) -> String {
        BASE64_STANDARD.encode(self.0.to_le_bytes())
    }

    /// `None` if the text is not the encoding of a timestamp.
    pub fn decode(text: &str) -> Option<Timestamp> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        Timestamp::new(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::decode(&text)
            .ok_or_else(|| D::Error::custom("a timestamp must be the base64 of 8 bytes, at most i64::MAX"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_the_base64_of_their_little_endian_bytes() {
        for (nanoseconds, text) in [
            (0, "AAAAAAAAAAA="),
            (1, "AQAAAAAAAAA="),
            (1_700_000_000_000_000_000, "AAAqNv6clxc="),
            (1_700_000_001_000_000_000, "AMrEcf6clxc="),
            (1_700_000_002_000_000_000, "AJRfrf6clxc="),
            (i64::MAX as u64, "/////////38="),
        ] {
            let timestamp = Timestamp::new(nanoseconds).expect("in range");
            assert_eq!(timestamp.encode(), text);
            assert_eq!(Timestamp::decode(text), Some(timestamp));
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in
            ["", "AAAAAAAAAAA", "AAAAAAAAAA==", "AAAAAAAAAIA=", "//////////8=", "1700000000", "AAAAAAAAAAAA"]
        {
            assert_eq!(Timestamp::decode(text), None, "{text}");
        }
        assert_eq!(Timestamp::new(i64::MAX as u64 + 1), None);
    }
}
