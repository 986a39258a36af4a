//! How a document lies in the store: a version byte, its size as the limits count it, its canonical JSON.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Error, Result};

/// The first byte of every stored document. Another one is refused by name.
pub const FORMAT_VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4;

/// Wraps canonical Convex JSON. `size` is the document's size in bytes as the limits count it.
pub fn encode(json: &str, size: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + json.len());
    bytes.put_u8(FORMAT_VERSION);
    bytes.put_u32_le(size);
    bytes.put_slice(json.as_bytes());
    bytes.freeze()
}

/// The JSON text and the size of a stored document.
pub fn decode(stored: &[u8]) -> Result<(&str, u32)> {
    let Some((&[version, a, b, c, d], json)) = stored.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Error::internal("a stored document is shorter than its header"));
    };
    if version != FORMAT_VERSION {
        return Err(Error::internal(format!(
            "stored document format {version} is not known to this version"
        )));
    }
    let json = std::str::from_utf8(json).map_err(|_| Error::internal("a stored document is not UTF-8"))?;
    Ok((json, u32::from_le_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(decode(&encode(r#"{"a":1}"#, 42)).unwrap(), (r#"{"a":1}"#, 42));
    }

    #[test]
    fn an_unknown_format_is_refused_by_name() {
        assert!(decode(&[9, 0, 0, 0, 0, b'{', b'}']).unwrap_err().message.contains("format 9"));
        assert!(decode(&[1, 0]).is_err());
    }
}
