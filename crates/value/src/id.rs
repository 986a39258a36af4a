//! Ids of documents and the numbers and internal ids that they are made of.
//!
//! A document's id is binary data — the table's number as a varint, the 16 bytes of the internal id, a checksum of two
//! bytes — and, as applications see it, that data in base 32 (Crockford's alphabet in lower case). Each id has one
//! spelling only. Older spellings, which consist of an internal id alone, are not understood.

use std::{fmt, str::FromStr};

use rand::Rng;

/// The number of a table within its component; never 0. User tables begin at [`TableNumber::FIRST_USER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableNumber(u32);

impl TableNumber {
    /// The smallest number of a user table; everything below is the system's.
    pub const FIRST_USER: TableNumber = TableNumber(10_001);
    /// What `_scheduled_functions` and its rows show.
    pub const SCHEDULED_FUNCTIONS: TableNumber = TableNumber(539);
    /// What `_storage` and its rows show.
    pub const FILE_STORAGE: TableNumber = TableNumber(540);

    /// `None` for 0, which names no table.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number, which is never zero.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for TableNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl serde::Serialize for TableNumber {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TableNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom("0 is not the number of a table"))
    }
}

/// The 16 bytes that are unique to a document, a table or an index: 14 random ones and the day it was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InternalId([u8; 16]);

impl InternalId {
    /// A new id; `day` counts from the Unix epoch (see [`day_of`]).
    pub fn generate(random: &mut (impl Rng + ?Sized), day: u16) -> Self {
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes[..14]);
        bytes[14..].copy_from_slice(&day.to_be_bytes());
        Self(bytes)
    }

    /// From bytes that were stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The day since the Unix epoch in which a moment lies, given in milliseconds since the epoch; stops at the last day
/// that an id can hold, in 2149.
pub fn day_of(milliseconds: u64) -> u16 {
    u16::try_from(milliseconds / 86_400_000).unwrap_or(u16::MAX)
}

impl fmt::Display for InternalId {
    /// 32 hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for InternalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "InternalId({self})")
    }
}

impl FromStr for InternalId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(IdError::NotHexadecimal);
        }
        u128::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| IdError::NotHexadecimal)
    }
}

crate::name::serde_as_text!(InternalId);

/// The id of a document: its table and its internal id. Its text form (`Display`, `FromStr`) is what applications
/// store and pass around.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// The table that holds the document.
    pub table: TableNumber,
    /// The document within all tables.
    pub internal_id: InternalId,
}

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant says what it is, and names its fields")]
pub enum IdError {
    #[error("an id has 31 to 37 characters")]
    Length,
    #[error("an id has only digits and lower-case letters without i, l, o and u")]
    Alphabet,
    #[error("the id's table number is not valid")]
    TableNumber,
    #[error("the id's checksum or version is not right")]
    Checksum,
    #[error("the id is not in its canonical form")]
    NotCanonical,
    #[error("an internal id has 32 hexadecimal digits in lower case")]
    NotHexadecimal,
}

const VARINT_BYTES_MAX: usize = 5;
const CHECKSUM_BYTES: usize = 2;
const BINARY_BYTES_MAX: usize = VARINT_BYTES_MAX + 16 + CHECKSUM_BYTES;
const TEXT_CHARS_MIN: usize = 31;
const TEXT_CHARS_MAX: usize = (BINARY_BYTES_MAX * 8).div_ceil(5);
/// The version of the format; it is folded into the checksum.
const VERSION: u16 = 0;

const _: () = assert!(TEXT_CHARS_MAX == 37 && TEXT_CHARS_MIN == (19usize * 8).div_ceil(5));

/// Text of an id on the stack.
struct IdText {
    chars: [u8; TEXT_CHARS_MAX],
    length: usize,
}

impl IdText {
    fn as_bytes(&self) -> &[u8] {
        &self.chars[..self.length]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("base 32 is ASCII")
    }
}

impl DocumentId {
    /// The id of a document of this table.
    pub const fn new(table: TableNumber, internal_id: InternalId) -> Self {
        Self { table, internal_id }
    }

    fn text(&self) -> IdText {
        let mut binary = [0; BINARY_BYTES_MAX];
        let mut length = write_varint(self.table.0, &mut binary);
        binary[length..length + 16].copy_from_slice(&self.internal_id.0);
        length += 16;
        let checksum = checksum(&binary[..length]);
        binary[length..length + CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        length += CHECKSUM_BYTES;

        let mut chars = [0; TEXT_CHARS_MAX];
        let length = base32::encode(&binary[..length], &mut chars);
        IdText { chars, length }
    }

    /// Whether the text is an id of any table.
    pub fn is_id(text: &str) -> bool {
        text.parse::<DocumentId>().is_ok()
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.text().as_str())
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DocumentId({self})")
    }
}

impl From<DocumentId> for String {
    fn from(id: DocumentId) -> String {
        id.text().as_str().to_owned()
    }
}

impl From<DocumentId> for crate::Value {
    fn from(id: DocumentId) -> Self {
        crate::Value::String(id.into())
    }
}

impl FromStr for DocumentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if !(TEXT_CHARS_MIN..=TEXT_CHARS_MAX).contains(&text.len()) {
            return Err(IdError::Length);
        }
        let mut binary = [0; BINARY_BYTES_MAX];
        let length = base32::decode(text.as_bytes(), &mut binary).ok_or(IdError::Alphabet)?;
        let binary = &binary[..length];
        let (table, varint_length) = read_varint(binary).ok_or(IdError::TableNumber)?;
        let table = TableNumber::new(table).ok_or(IdError::TableNumber)?;
        let (content, footer) = binary.split_at_checked(varint_length + 16).ok_or(IdError::NotCanonical)?;
        let footer: [u8; CHECKSUM_BYTES] = footer.try_into().map_err(|_| IdError::NotCanonical)?;
        if u16::from_le_bytes(footer) != checksum(content) {
            return Err(IdError::Checksum);
        }
        let internal_id = content[varint_length..].try_into().map_err(|_| IdError::NotCanonical)?;
        let id = Self::new(table, InternalId(internal_id));
        // Longer varints of small numbers and stray bits after the last byte decode to the same id.
        if id.text().as_bytes() == text.as_bytes() { Ok(id) } else { Err(IdError::NotCanonical) }
    }
}

crate::name::serde_as_text!(DocumentId);

/// Writes a number, seven bits a byte, lowest first; the length comes back.
fn write_varint(mut number: u32, bytes: &mut [u8]) -> usize {
    let mut length = 0;
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        bytes[length] = if number == 0 { low } else { low | 0x80 };
        length += 1;
        if number == 0 {
            return length;
        }
    }
}

/// The number that `bytes` begin with, and its length in bytes.
fn read_varint(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut number = 0u64;
    for (position, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(number).ok()?, position + 1));
        }
    }
    None
}

/// Fletcher's checksum with two sums modulo 256, and the version folded in.
fn checksum(bytes: &[u8]) -> u16 {
    let (mut first, mut second) = (0u8, 0u8);
    for byte in bytes {
        first = first.wrapping_add(*byte);
        second = second.wrapping_add(first);
    }
    u16::from_le_bytes([first, second]) ^ VERSION
}

/// Base 32 with Crockford's alphabet in lower case, highest bit first, without padding and without tolerance.
mod base32 {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    const NO_DIGIT: u8 = 0xFF;

    const DIGITS: [u8; 256] = {
        let mut digits = [NO_DIGIT; 256];
        let mut digit = 0;
        while digit < ALPHABET.len() {
            digits[ALPHABET[digit] as usize] = digit as u8;
            digit += 1;
        }
        digits
    };

    /// Writes the characters of `bytes`; their number comes back.
    pub fn encode(bytes: &[u8], chars: &mut [u8]) -> usize {
        let (mut bits, mut bit_count, mut length) = (0u32, 0, 0);
        for byte in bytes {
            bits = bits << 8 | u32::from(*byte);
            bit_count += 8;
            while bit_count >= 5 {
                bit_count -= 5;
                chars[length] = ALPHABET[(bits >> bit_count & 31) as usize];
                length += 1;
            }
        }
        if bit_count > 0 {
            chars[length] = ALPHABET[(bits << (5 - bit_count) & 31) as usize];
            length += 1;
        }
        length
    }

    /// Writes the whole bytes in `chars`; their number comes back, `None` if a character is not of the alphabet. Bits
    /// after the last whole byte are ignored.
    pub fn decode(chars: &[u8], bytes: &mut [u8]) -> Option<usize> {
        let (mut bits, mut bit_count, mut length) = (0u32, 0, 0);
        for char in chars {
            let digit = DIGITS[usize::from(*char)];
            if digit == NO_DIGIT {
                return None;
            }
            bits = bits << 5 | u32::from(digit);
            bit_count += 5;
            if bit_count >= 8 {
                bit_count -= 8;
                bytes[length] = (bits >> bit_count) as u8;
                length += 1;
            }
        }
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn id(table: u32, internal_id: [u8; 16]) -> DocumentId {
        DocumentId::new(TableNumber::new(table).expect("not 0"), InternalId(internal_id))
    }

    #[test]
    fn known_ids() {
        let counting = std::array::from_fn(|index| index as u8);
        for (table, internal_id, text) in [
            (1, [0; 16], "0400000000000000000000000000248"),
            (1, counting, "040020g30g2gc1r81450p30d1r7qke8"),
            (127, [0xFF; 16], "fzzzzzzzzzzzzzzzzzzzzzzzzzzpzsr"),
            (128, [0; 16], "g00g000000000000000000000000108h"),
            (513, counting, "g42000820c20a1g7104gm2rc1m70zzfy"),
            (539, counting, "kc2000820c20a1g7104gm2rc1m70y5yj"),
            (540, counting, "kg2000820c20a1g7104gm2rc1m70y674"),
            (10001, [0; 16], "j5700000000000000000000000001qv0"),
            (10001, counting, "j57000820c20a1g7104gm2rc1m70ynr8"),
            (10001, [0xFF; 16], "j57fzzzzzzzzzzzzzzzzzzzzzzzzzkyr"),
            (16384, counting, "g2002001081g81860w40j2gb1g6gw3vs74"),
            (u32::MAX, counting, "zzzzzzrf000g40r40m30e209185gr38e1y1nj"),
        ] {
            let id = id(table, internal_id);
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused_with_a_reason() {
        let good = "j57000820c20a1g7104gm2rc1m70ynr8";
        for (text, error) in [
            ("", IdError::Length),
            (&good[..30], IdError::Length),
            ("zzzzzzrf000g40r40m30e209185gr38e1y1njz", IdError::Length),
            ("J57000820c20a1g7104gm2rc1m70ynr8", IdError::Alphabet),
            ("i57000820c20a1g7104gm2rc1m70ynr8", IdError::Alphabet),
            ("j57000820c20a1g7104gm2rc1m70ynré", IdError::Alphabet),
            ("j57000820c20a1g7104gm2rc1m70ynr9", IdError::Checksum),
            ("j57100820c20a1g7104gm2rc1m70ynr8", IdError::Checksum),
            ("0000000000000000000000000000000", IdError::TableNumber),
            ("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", IdError::TableNumber),
            ("j57000820c20a1g7104gm2rc1m70ynr80", IdError::NotCanonical),
        ] {
            assert_eq!(text.parse::<DocumentId>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        // Table 1 written with a varint of two bytes, and a right checksum.
        let mut binary = vec![0x81, 0x00];
        binary.extend_from_slice(&[7; 16]);
        binary.extend_from_slice(&checksum(&binary).to_le_bytes());
        let mut chars = [0; TEXT_CHARS_MAX];
        let length = base32::encode(&binary, &mut chars);
        let text = std::str::from_utf8(&chars[..length]).expect("ASCII");
        assert_eq!(text.parse::<DocumentId>(), Err(IdError::NotCanonical));

        // 19 bytes are 152 bits, 31 characters 155: the last three bits must be 0.
        let good = id(1, [7; 16]).to_string();
        let last = good.bytes().last().expect("not empty");
        let stray = format!("{}{}", &good[..30], char::from(last + 1));
        assert_eq!(stray.parse::<DocumentId>(), Err(IdError::NotCanonical));
    }

    #[test]
    fn generated_ids_hold_randomness_and_their_day() {
        let mut random = rand_chacha::ChaCha12Rng::seed_from_u64(1);
        let day = day_of(1_700_000_000_000);
        let (first, second) =
            (InternalId::generate(&mut random, day), InternalId::generate(&mut random, day));
        assert_ne!(first, second);
        assert_eq!(first.as_bytes()[14..], 19675u16.to_be_bytes());
        assert_eq!(day_of(u64::MAX), u16::MAX);
        assert_eq!(first.to_string().parse(), Ok(first));
    }
}
