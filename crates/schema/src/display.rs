//! Validators and values as application code writes them, within a bounded length.

use std::fmt::{self, Display, Formatter, Write};

use value::{Object, Value};

use crate::{FunctionSignature, Validator};

/// Characters of a value or a validator in an error message; the rest is cut.
const CHARS_MAX: usize = 2_000;

/// Writes text up to a length and then stops with an error.
struct Bounded {
    text: String,
    chars_left: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.chars_left) {
            None => {
                self.chars_left -= text.chars().count();
                self.text.push_str(text);
                Ok(())
            }
            Some((end, _)) => {
                self.text.push_str(&text[..end]);
                self.text.push('…');
                self.chars_left = 0;
                Err(fmt::Error)
            }
        }
    }
}

/// The text of a value or validator, cut when it is long.
pub(crate) fn excerpt(shown: &dyn Display) -> String {
    let mut bounded = Bounded { text: String::new(), chars_left: CHARS_MAX };
    // An error only says that the text was cut, which the text shows.
    let _ = write!(bounded, "{shown}");
    bounded.text
}

/// A value as code.
pub(crate) struct ShownValue<'v>(pub &'v Value);

/// An object as code.
pub(crate) struct ShownObject<'v>(pub &'v Object);

impl Display for ShownValue<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => formatter.write_str("null"),
            Value::Int64(integer) => write!(formatter, "{integer}n"),
            Value::Float64(number) => write!(formatter, "{number:?}"),
            Value::Boolean(boolean) => write!(formatter, "{boolean}"),
            Value::String(text) => write!(formatter, "{}", Quoted(text)),
            Value::Bytes(bytes) => write!(formatter, "bytes({})", bytes.len()),
            Value::Array(members) => {
                formatter.write_str("[")?;
                for (position, member) in members.iter().enumerate() {
                    separate(formatter, position)?;
                    ShownValue(member).fmt(formatter)?;
                }
                formatter.write_str("]")
            }
            Value::Object(object) => ShownObject(object).fmt(formatter),
            Value::CommitTimestamp => formatter.write_str("commitTs"),
        }
    }
}

impl Display for ShownObject<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (position, (name, value)) in self.0.iter().enumerate() {
            separate(formatter, position)?;
            write!(formatter, "{}: {}", ShownName(name), ShownValue(value))?;
        }
        formatter.write_str("}")
    }
}

fn separate(formatter: &mut Formatter<'_>, position: usize) -> fmt::Result {
    if position > 0 { formatter.write_str(", ") } else { Ok(()) }
}

/// The name of a field, quoted where code must quote it.
pub(crate) struct ShownName<'n>(pub &'n str);

impl Display for ShownName<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if is_plain_name(self.0) { formatter.write_str(self.0) } else { Quoted(self.0).fmt(formatter) }
    }
}

/// Whether code can write the name without quotes.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Text in double quotes, escaped as in JSON.
pub(crate) struct Quoted<'t>(pub &'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        for char in self.0.chars() {
            match char {
                '"' => formatter.write_str("\\\"")?,
                '\\' => formatter.write_str("\\\\")?,
                '\n' => formatter.write_str("\\n")?,
                '\r' => formatter.write_str("\\r")?,
                '\t' => formatter.write_str("\\t")?,
                control if control < ' ' => write!(formatter, "\\u{:04x}", u32::from(control))?,
                other => formatter.write_char(other)?,
            }
        }
        formatter.write_str("\"")
    }
}

impl Display for Validator {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Validator::Any => formatter.write_str("v.any()"),
            Validator::Null => formatter.write_str("v.null()"),
            Validator::Float64 => formatter.write_str("v.float64()"),
            Validator::Int64 => formatter.write_str("v.int64()"),
            Validator::CommitTimestamp => formatter.write_str("v.commitTs()"),
            Validator::Boolean => formatter.write_str("v.boolean()"),
            Validator::String => formatter.write_str("v.string()"),
            Validator::Bytes => formatter.write_str("v.bytes()"),
            Validator::Literal(value) => write!(formatter, "v.literal({})", ShownValue(value)),
            Validator::Id(table) => write!(formatter, "v.id(\"{table}\")"),
            Validator::Function(signature) => signature.fmt(formatter),
            Validator::Array(members) => write!(formatter, "v.array({members})"),
            Validator::Record { keys, values } => write!(formatter, "v.record({keys}, {values})"),
            Validator::Object(fields) => {
                formatter.write_str("v.object({")?;
                for (position, (name, field)) in fields.iter().enumerate() {
                    separate(formatter, position)?;
                    write!(formatter, "{}: ", ShownName(name.as_str()))?;
                    if field.optional {
                        write!(formatter, "v.optional({})", field.validator)?;
                    } else {
                        write!(formatter, "{}", field.validator)?;
                    }
                }
                formatter.write_str("})")
            }
            Validator::Union(members) => {
                formatter.write_str("v.union(")?;
                for (position, member) in members.iter().enumerate() {
                    separate(formatter, position)?;
                    member.fmt(formatter)?;
                }
                formatter.write_str(")")
            }
        }
    }
}

impl Display for FunctionSignature {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let FunctionSignature { kind, arguments, returns } = self;
        if *self == FunctionSignature::default() {
            return formatter.write_str("v.function()");
        }
        formatter.write_str("v.function({")?;
        let mut position = 0..;
        if let Some(kind) = kind {
            separate(formatter, position.next().unwrap_or(0))?;
            write!(formatter, "fnType: \"{}\"", kind.name())?;
        }
        for (name, part) in [("args", arguments), ("returns", returns)] {
            if let Some(validator) = part {
                separate(formatter, position.next().unwrap_or(0))?;
                write!(formatter, "{name}: {validator}")?;
            }
        }
        formatter.write_str("})")
    }
}

#[cfg(test)]
mod tests {
    use value::object;

    use super::*;

    #[test]
    fn values_look_like_code() {
        let value = Value::from(object! {
            "a b" => 1.0, "big" => 7i64, "list" => vec![Value::Null, true.into()], "text" => "say \"hi\"\n\u{1}",
        });
        assert_eq!(
            ShownValue(&value).to_string(),
            r#"{"a b": 1.0, big: 7n, list: [null, true], text: "say \"hi\"\n\u0001"}"#
        );
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let value = Value::from("é".repeat(1_000_000));
        let text = excerpt(&ShownValue(&value));
        assert_eq!(text.chars().count(), CHARS_MAX + 1);
        assert!(text.ends_with("é…"));
    }
}
