//! Names of tables, indexes, fields and exports.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::limits::{FIELD_NAME_CHARS_MAX, IDENTIFIER_CHARS_MAX};

use crate::{ValueError, error::excerpt};

/// Why `text` is not an identifier; `None` if it is one: an ASCII letter or underscore, then letters, digits and
/// underscores, not only underscores, at most 64 characters.
fn identifier_fault(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        Some("it is empty")
    } else if bytes.len() > IDENTIFIER_CHARS_MAX {
        Some("it is longer than 64 characters")
    } else if bytes[0].is_ascii_digit() {
        Some("it begins with a digit")
    } else if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        Some("it has other characters than ASCII letters, digits and underscores")
    } else if bytes.iter().all(|byte| *byte == b'_') {
        Some("it has only underscores")
    } else {
        None
    }
}

/// Checks that `text` is an identifier; `what` names its role in the error ("the table name").
pub fn check_identifier(text: &str, what: &'static str) -> Result<(), ValueError> {
    match identifier_fault(text) {
        None => Ok(()),
        Some(reason) => Err(ValueError::InvalidIdentifier { what, text: excerpt(text), reason }),
    }
}

/// Checks that `text` may name a field of an object: printable ASCII, no leading `$`, at most 1024 characters. The
/// empty name is allowed.
pub(crate) fn check_field_name(text: &str) -> Result<(), ValueError> {
    let invalid = |reason| Err(ValueError::InvalidFieldName { name: excerpt(text), reason });
    if text.starts_with('$') {
        invalid("names with a leading `$` are reserved for encodings")
    } else if text.len() > FIELD_NAME_CHARS_MAX {
        invalid("it is longer than 1024 characters")
    } else if !text.bytes().all(|byte| (0x20..=0x7E).contains(&byte)) {
        invalid("it has other characters than printable ASCII")
    } else {
        Ok(())
    }
}

/// Serializes a type by its `Display` and deserializes it by its `FromStr`.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str(concat!("a string that holds a ", stringify!($name)))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}
pub(crate) use serde_as_text;

macro_rules! name {
    ($(#[$attribute:meta])* $name:ident, $check:expr) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                let check: fn(&str) -> Result<(), ValueError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, formatter)
            }
        }

        serde_as_text!($name);
    };
}

name! {
    /// The name of a table: an identifier. System tables begin with an underscore.
    TableName, |text| check_identifier(text, "the table name")
}

name! {
    /// The name of an index within its table: an identifier.
    IndexName, |text| check_identifier(text, "the index name")
}

name! {
    /// The name of a field: printable ASCII, no leading `$`, at most 1024 characters, possibly empty.
    FieldName, check_field_name
}

name! {
    /// The name under which a module exports a function: an identifier.
    ExportName, |text| check_identifier(text, "the export name")
}

impl TableName {
    /// Whether it is a table of the system, which applications can't name as their own.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('_')
    }
}

impl IndexName {
    /// The index every table has over the ids of its documents.
    pub const BY_ID: &'static str = "by_id";
    /// The index every table has over the creation times of its documents.
    pub const BY_CREATION_TIME: &'static str = "by_creation_time";

    /// Whether a schema may not declare it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('_') || &*self.0 == Self::BY_ID || &*self.0 == Self::BY_CREATION_TIME
    }
}

impl ExportName {
    /// What a path without an export means.
    pub const DEFAULT: &'static str = "default";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for legal in ["a", "_a", "A9_", "by_creation_time", &"x".repeat(64)] {
            assert_eq!(legal.parse::<TableName>().expect("legal").as_str(), legal);
        }
        for illegal in ["", "_", "___", "9a", "a-b", "a b", "a.b", "é", "a\0", &"x".repeat(65)] {
            let error = illegal.parse::<IndexName>().expect_err(illegal);
            assert_eq!(error.code(), "InvalidIdentifier");
        }
    }

    #[test]
    fn field_names() {
        for legal in ["", " ", "a b", "9", "~", "a$", "_id", &"x".repeat(1024)] {
            assert!(legal.parse::<FieldName>().is_ok(), "{legal}");
        }
        for illegal in ["$", "$a", "\u{7f}", "\n", "é", &"x".repeat(1025)] {
            assert_eq!(illegal.parse::<FieldName>().expect_err(illegal).code(), "InvalidFieldName");
        }
    }

    #[test]
    fn names_deserialize_only_when_legal() {
        assert_eq!(serde_json::from_str::<TableName>("\"users\"").expect("legal").as_str(), "users");
        let error = serde_json::from_str::<TableName>("\"9users\"").expect_err("illegal").to_string();
        assert!(error.contains("begins with a digit"), "{error}");
        assert_eq!(serde_json::to_string(&"a".parse::<IndexName>().expect("legal")).expect("text"), "\"a\"");
    }
}
