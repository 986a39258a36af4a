//! How a document lies in the store: a version byte, its size as the limits count it, its canonical JSON.
//!
//! A document may hold the timestamp of the commit that writes it, and be found by it in indexes. Until the log has given the
//! commit its timestamp, such a document comes with the places where it is to be put.
//!
//! ```text
//!   1  size u32  JSON                        as it is stored
//!   2  size u32  places  JSON                on its way to the log: see [`encode_unstamped`]
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{Error, Result, Timestamp, Write};

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

/// The first byte of a document whose commit has no timestamp yet. No such document is stored.
const UNSTAMPED_VERSION: u8 = 2;

/// An Int64 in convex-encoded JSON, as long as every other one: 8 bytes, little-endian, in base 64.
const INTEGER: &str = r#"{"$integer":"AAAAAAAAAAA="}"#;
/// Where its base 64 begins.
const INTEGER_DIGITS: usize = 13;
const INTEGER_DIGIT_BYTES: usize = 12;

/// Wraps canonical Convex JSON in which `placeholder` stands for the timestamp of the commit. `in_keys` are places in the new keys
/// of the document's indexes: the position of the index among the write's updates, and where 8 bytes, big-endian, begin there.
pub fn encode_unstamped(json: &str, placeholder: &str, size: u32, in_keys: &[(u32, u32)]) -> Bytes {
    let mut text = String::with_capacity(json.len() + 64);
    let mut places = Vec::new();
    for (position, part) in json.split(placeholder).enumerate() {
        if position > 0 {
            places.push((text.len() + INTEGER_DIGITS) as u32);
            text.push_str(INTEGER);
        }
        text.push_str(part);
    }
    let mut bytes =
        BytesMut::with_capacity(HEADER_BYTES + 8 + 4 * places.len() + 8 * in_keys.len() + text.len());
    bytes.put_u8(UNSTAMPED_VERSION);
    bytes.put_u32_le(size);
    bytes.put_u32_le(places.len() as u32);
    places.iter().for_each(|place| bytes.put_u32_le(*place));
    bytes.put_u32_le(in_keys.len() as u32);
    for (index, place) in in_keys {
        bytes.put_u32_le(*index);
        bytes.put_u32_le(*place);
    }
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// Whether the document of a write waits for the timestamp of its commit.
pub fn is_unstamped(write: &Write) -> bool {
    write.document.as_ref().is_some_and(|document| document.first() == Some(&UNSTAMPED_VERSION))
}

/// Puts the timestamp of its commit into a write's document and keys. A write that waits for none stays as it is. Fails if it is
/// not as [`encode_unstamped`] makes it.
pub fn stamp(write: &Write, timestamp: Timestamp) -> Result<Write> {
    if !is_unstamped(write) {
        return Ok(write.clone());
    }
    let damaged =
        || Error::bad_request("InvalidCommit", "a document that waits for its commit can't be read");
    let mut rest: &[u8] = write.document.as_deref().unwrap_or_default();
    let u32_of = |rest: &mut &[u8]| rest.try_get_u32_le().map_err(|_| damaged());
    rest.advance(1);
    let size = u32_of(&mut rest)?;
    let nanoseconds = timestamp.as_nanoseconds();
    let mut places = Vec::new();
    for _ in 0..u32_of(&mut rest)? {
        places.push(u32_of(&mut rest)? as usize);
    }
    let mut stamped = write.clone();
    for _ in 0..u32_of(&mut rest)? {
        let (index, place) = (u32_of(&mut rest)? as usize, u32_of(&mut rest)? as usize);
        let key = stamped.index_updates.get_mut(index).and_then(|update| update.new.as_mut());
        let key = key.ok_or_else(damaged)?;
        let mut bytes = BytesMut::from(&key[..]);
        let digits = bytes.get_mut(place..place.saturating_add(8)).ok_or_else(damaged)?;
        digits.copy_from_slice(&nanoseconds.to_be_bytes());
        *key = bytes.freeze();
    }
    let mut json = rest.to_vec();
    for place in places {
        let end = place.saturating_add(INTEGER_DIGIT_BYTES);
        let digits = json.get_mut(place..end).ok_or_else(damaged)?;
        digits.copy_from_slice(&base64_of(nanoseconds));
    }
    let json = String::from_utf8(json).map_err(|_| damaged())?;
    stamped.document = Some(encode(&json, size));
    Ok(stamped)
}

/// 8 bytes, little-endian, in base 64.
fn base64_of(number: u64) -> [u8; INTEGER_DIGIT_BYTES] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = number.to_le_bytes();
    // 8 bytes are 10 digits and 4 bits.
    let bits = bytes.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte)) << 2;
    let mut digits = [b'='; INTEGER_DIGIT_BYTES];
    for (position, digit) in digits[..11].iter_mut().enumerate() {
        *digit = ALPHABET[(bits >> (60 - 6 * position) & 63) as usize];
    }
    digits
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
    use crate::{IndexId, IndexUpdate};

    #[test]
    fn a_commit_puts_its_timestamp_into_documents_and_keys() {
        let json = r#"{"_id":"x","a":[@,"{"],"b":@}"#;
        let update = |new: Option<&'static [u8]>| IndexUpdate {
            index: IndexId([1; 16]),
            old: None,
            new: new.map(Bytes::from_static),
        };
        let write = Write {
            primary: IndexId([0; 16]),
            key: Bytes::from_static(b"k"),
            document: Some(encode_unstamped(json, "@", 77, &[(1, 1)])),
            index_updates: vec![
                update(Some(b"other")),
                update(Some(b"\x0c\x7f\xff\xff\xff\xff\xff\xff\xffrest")),
            ],
        };
        assert!(is_unstamped(&write) && decode(write.document.as_ref().unwrap()).is_err());
        let timestamp = Timestamp::new(0x0102_0304_0506_0708).expect("a timestamp");
        let stamped = stamp(&write, timestamp).expect("it can be stamped");
        assert!(!is_unstamped(&stamped));
        // The bytes 08 07 06 05 04 03 02 01.
        let integer = r#"{"$integer":"CAcGBQQDAgE="}"#;
        let expected = json.replace('@', integer);
        assert_eq!(decode(stamped.document.as_ref().unwrap()).unwrap(), (expected.as_str(), 77));
        assert_eq!(stamped.index_updates[0], write.index_updates[0]);
        let key = stamped.index_updates[1].new.as_ref().unwrap();
        assert_eq!(&key[..], b"\x0c\x01\x02\x03\x04\x05\x06\x07\x08rest");
        assert_eq!(stamp(&stamped, timestamp), Ok(stamped.clone()));
        for cut in 1..40 {
            let cut = write.document.as_ref().unwrap().slice(..cut);
            let _ = stamp(&Write { document: Some(cut), ..write.clone() }, timestamp);
        }
    }

    #[test]
    fn numbers_are_written_in_base_64_as_values_are() {
        for (number, text) in
            [(0, "AAAAAAAAAAA="), (1, "AQAAAAAAAAA="), (u64::MAX, "//////////8="), (1 << 62, "AAAAAAAAAEA=")]
        {
            assert_eq!(&base64_of(number), text.as_bytes(), "{number}");
        }
    }

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
