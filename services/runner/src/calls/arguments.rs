//! The arguments of a function: an array with one object.

use std::borrow::Cow;

use schema::{TableLookup, Validator};
use serde_json::value::RawValue;
use value::Value;

use super::{Origin, Thrown};

/// The size of the arguments as a value. Fails, as the caller shall see it, unless `text` is an array with one object of at most
/// `bytes_max` that fits the validator. What a message or a request can hold bounds the text.
pub(super) fn check(
    text: &str,
    origin: Origin,
    validator: &Validator,
    tables: &dyn TableLookup,
    bytes_max: usize,
) -> Result<usize, Thrown> {
    let invalid = |reason: &dyn std::fmt::Display| Thrown::new(format!("InvalidArguments: {reason}"));
    let [object]: [&RawValue; 1] = serde_json::from_str(text)
        .map_err(|error| invalid(&format_args!("arguments are an array with one object: {error}")))?;
    if !object.get().starts_with('{') {
        return Err(invalid(&"arguments are an object"));
    }
    // The limits of values hold whether there is a validator or not.
    let value = match origin {
        Origin::Outside => Value::from_json(object.get()),
        Origin::Function => Value::from_json_with_placeholder(object.get()),
    };
    let value = value.map_err(|error| invalid(&error))?;
    let bytes = value.size_bytes();
    if bytes > bytes_max {
        return Err(Thrown::new(format!(
            "FunctionArgumentsTooLarge: the arguments have {bytes} bytes, more than the {bytes_max} that are allowed."
        )));
    }
    let fits = validator.check(&value, tables);
    fits.map_err(|failure| Thrown::new(format!("ArgumentValidationError: {failure}")))?;
    Ok(bytes)
}

/// Arguments as clients may send them, made an array with one object: no arguments are an empty object.
pub(crate) fn normalize(text: &str) -> Cow<'_, str> {
    match text.trim() {
        "[]" => Cow::Borrowed("[{}]"),
        object if object.starts_with('{') => Cow::Owned(format!("[{object}]")),
        array => Cow::Borrowed(array),
    }
}

#[cfg(test)]
mod tests {
    use value::{TableName, TableNumber};

    use super::*;

    fn no_tables(_: &TableName) -> Option<TableNumber> {
        None
    }

    fn failure(text: &str, validator: &Validator) -> String {
        check(text, Origin::Outside, validator, &no_tables, 100).expect_err(text).to_log_text("")
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn arguments_are_one_object() {
        for text in ["", "[", "[1]", "[{},{}]", "{}", "null", "[null]", "[{\"a\":}]"] {
            assert!(failure(text, &Validator::Any).starts_with("InvalidArguments: "), "{text}");
        }
        assert_eq!(check(r#"[{"a":1}]"#, Origin::Outside, &Validator::Any, &no_tables, 100), Ok(13));
    }

    #[test]
    fn arguments_are_held_to_their_validator_and_size() {
        let validator = Validator::Object(Default::default());
        assert_eq!(check("[{}]", Origin::Outside, &validator, &no_tables, 100), Ok(2));
        assert!(
            failure(r#"[{"a":1}]"#, &validator)
                .starts_with("ArgumentValidationError: Object contains the extra")
        );
        let large = format!(r#"[{{"a":"{}"}}]"#, "x".repeat(100));
        assert!(failure(&large, &validator).starts_with("FunctionArgumentsTooLarge"));
        // Bytes are a third longer as text, and numbers many times.
        let bytes = format!(r#"[{{"a":{{"$bytes":"{}"}}}}]"#, "AAAA".repeat(31));
        assert!(bytes.len() > 100);
        assert_eq!(check(&bytes, Origin::Outside, &Validator::Any, &no_tables, 100), Ok(99));
        for validator in [validator, Validator::Any] {
            for no_value in [r#"{"$nonsense":1}"#, r#""\ud800""#, &nested(64)] {
                let text = format!(r#"[{{"a":{no_value}}}]"#);
                let thrown = check(&text, Origin::Outside, &validator, &no_tables, 1_000).expect_err(&text);
                assert!(thrown.to_log_text("").starts_with("InvalidArguments"), "{thrown:?}");
            }
        }
        assert_eq!(
            check(
                &format!(r#"[{{"a":{}}}]"#, nested(63)),
                Origin::Outside,
                &Validator::Any,
                &no_tables,
                1_000
            ),
            Ok(130)
        );
    }

    #[test]
    fn no_arguments_and_a_bare_object_are_understood() {
        assert_eq!(normalize(" [] "), "[{}]");
        assert_eq!(normalize(r#"{"a":1}"#), r#"[{"a":1}]"#);
        assert_eq!(normalize(r#"[{"a":1}]"#), r#"[{"a":1}]"#);
    }
}
