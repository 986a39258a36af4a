use std::{fmt, str::FromStr};

use crate::{FieldName, Object, Value, ValueError, error::excerpt};

/// The way to a field through nested objects, written with dots: `author.name`.
///
/// A field whose own name holds a dot can't be reached by a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    /// Never empty.
    names: Vec<FieldName>,
}

impl FieldPath {
    /// The path of a top-level field.
    pub fn of_field(name: FieldName) -> Self {
        Self { names: vec![name] }
    }

    /// The names from the outermost to the innermost; at least one.
    pub fn names(&self) -> &[FieldName] {
        &self.names
    }

    /// The outermost name.
    pub fn first(&self) -> &FieldName {
        &self.names[0]
    }

    /// Whether the path is the one top-level field `name`.
    pub fn is_field(&self, name: &str) -> bool {
        self.names.len() == 1 && self.names[0].as_str() == name
    }

    /// The value at the path; `None` (undefined) if a field is missing or the path goes through something that is not
    /// an object.
    pub fn lookup<'o>(&self, object: &'o Object) -> Option<&'o Value> {
        let (first, rest) = self.names.split_first()?;
        rest.iter().try_fold(object.get(first.as_str())?, |value, name| value.as_object()?.get(name.as_str()))
    }
}

impl FromStr for FieldPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let invalid = |reason| ValueError::InvalidFieldPath { text: excerpt(text), reason };
        if text.len() > crate::limits::FIELD_NAME_CHARS_MAX {
            return Err(invalid("it is too long"));
        }
        let name = |part: &str| {
            if part.is_empty() {
                return Err(invalid("one of its names is empty"));
            }
            FieldName::from_str(part)
        };
        Ok(Self { names: text.split('.').map(name).collect::<Result<_, _>>()? })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.names.iter().enumerate() {
            if position > 0 {
                formatter.write_str(".")?;
            }
            formatter.write_str(name.as_str())?;
        }
        Ok(())
    }
}

crate::name::serde_as_text!(FieldPath);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FieldPath {
        text.parse().expect("legal")
    }

    #[test]
    fn a_path_through_something_else_than_an_object_is_missing() {
        let document = object! {"a" => object! {"b" => 1.0}, "c" => "text", "d.e" => 2.0};
        assert_eq!(path("a.b").lookup(&document), Some(&Value::Float64(1.0)));
        assert_eq!(path("a").lookup(&document), document.get("a"));
        for missing in ["a.c", "b", "c.d", "a.b.c", "d.e"] {
            assert_eq!(path(missing).lookup(&document), None, "{missing}");
        }
    }

    #[test]
    fn paths_with_empty_or_illegal_names_are_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a.$b", "a.\u{e9}"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
        assert_eq!(path("a.b c").to_string(), "a.b c");
    }
}
