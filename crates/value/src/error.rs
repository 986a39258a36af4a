use crate::limits::{ARRAY_LENGTH_MAX, OBJECT_FIELDS_MAX, VALUE_NESTING_MAX};

/// Why something is not a value, a document, a name or a path. All of them are mistakes of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant says what it is, and names its fields")]
pub enum ValueError {
    #[error("this is not valid JSON: {message}")]
    InvalidJson { message: String },
    #[error(
        "a string has a lone surrogate, half of a character, which no text can have; `toWellFormed()` of a string replaces it"
    )]
    LoneSurrogate,
    #[error("the value nests more than {VALUE_NESTING_MAX} levels deep")]
    TooNested,
    #[error("an array has more than {ARRAY_LENGTH_MAX} members")]
    ArrayTooLong,
    #[error("an object has more than {OBJECT_FIELDS_MAX} fields")]
    TooManyFields,
    #[error("the field name {name:?} is not allowed: {reason}")]
    InvalidFieldName { name: String, reason: &'static str },
    #[error("the field {name:?} occurs twice in one object")]
    DuplicateField { name: String },
    #[error("an encoded value is not valid: {reason}")]
    InvalidEncoding { reason: &'static str },
    #[error("the placeholder of the commit timestamp is not allowed here")]
    CommitTimestampNotAllowed,
    #[error("the value has {size_bytes} bytes, more than the {size_bytes_max} that are allowed")]
    TooLarge { size_bytes: usize, size_bytes_max: usize },
    #[error("the document nests {nesting} levels deep, more than the {nesting_max} that are allowed")]
    DocumentTooNested { nesting: usize, nesting_max: usize },
    #[error("the field `{name}` begins with an underscore, as only `_id` and `_creationTime` may")]
    ReservedField { name: String },
    #[error("a document must be an object, not {type_name}")]
    NotADocument { type_name: &'static str },
    #[error("a patch must be an object of the fields that change, not {type_name}")]
    NotAPatch { type_name: &'static str },
    #[error("the field `_id` must be a string that holds an id, not {type_name}")]
    InvalidIdField { type_name: &'static str },
    #[error("the field `_creationTime` must be a positive number of milliseconds")]
    InvalidCreationTime,
    #[error("{what} {text:?} is not allowed: {reason}")]
    InvalidIdentifier { what: &'static str, text: String, reason: &'static str },
    #[error("the field path {text:?} is not allowed: {reason}")]
    InvalidFieldPath { text: String, reason: &'static str },
    #[error("the function path {text:?} is not allowed: {reason}")]
    InvalidPath { text: String, reason: &'static str },
    #[error("{text:?} is not the name of a format; use convex_encoded_json, json or export_json")]
    InvalidFormat { text: String },
}

impl ValueError {
    /// Why a text is not JSON.
    pub fn of_json(error: &serde_json::Error) -> ValueError {
        let message = error.to_string();
        // The parser's errors have no kinds. These are its texts where one half of a pair has come without the other.
        let of_half_pairs = ["lone leading surrogate", "unexpected end of hex escape"];
        if of_half_pairs.iter().any(|text| message.starts_with(text)) {
            return ValueError::LoneSurrogate;
        }
        ValueError::InvalidJson { message: excerpt(&message) }
    }

    /// The stable code, which clients may compare.
    pub fn code(&self) -> &'static str {
        match self {
            ValueError::InvalidJson { .. } | ValueError::LoneSurrogate => "InvalidJson",
            ValueError::TooNested => "TooNestedError",
            ValueError::ArrayTooLong => "ArrayTooLong",
            ValueError::TooManyFields => "TooManyFieldsError",
            ValueError::InvalidFieldName { .. } => "InvalidFieldName",
            ValueError::DuplicateField { .. } => "DuplicateField",
            ValueError::InvalidEncoding { .. } => "InvalidValueEncoding",
            ValueError::CommitTimestampNotAllowed => "CommitTimestampNotAllowed",
            ValueError::TooLarge { .. } => "ValueTooLargeError",
            ValueError::DocumentTooNested { .. }
            | ValueError::ReservedField { .. }
            | ValueError::NotADocument { .. }
            | ValueError::NotAPatch { .. } => "InvalidDocumentError",
            ValueError::InvalidIdField { .. } => "InvalidIdError",
            ValueError::InvalidCreationTime => "InvalidCreationTimeError",
            ValueError::InvalidIdentifier { .. } => "InvalidIdentifier",
            ValueError::InvalidFieldPath { .. } => "InvalidFieldPath",
            ValueError::InvalidPath { .. } => "InvalidPath",
            ValueError::InvalidFormat { .. } => "BadFormat",
        }
    }
}

/// Shortens what a caller sent, so that an error message stays small.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
