//! The result of a function.

use schema::{TableLookup, Validator};
use value::Value;

use super::Thrown;

/// The size of the result as a value. Fails, as the caller shall see it, unless `text` is a value of at most
/// `bytes_max` that fits the validator. What the guest can hold bounds the text, of which bytes take a third more.
pub(super) fn check(
    text: &str,
    validator: Option<&Validator>,
    tables: &dyn TableLookup,
    bytes_max: usize,
) -> Result<usize, Thrown> {
    let invalid = |reason: &dyn std::fmt::Display| {
        Thrown::new(format!("InvalidReturnValue: the function did not return a Convex value: {reason}"))
    };
    // The limits of values hold whether there is a validator or not: clients and validators elsewhere read it as one.
    // A mutation may return the timestamp of its commit, of which only its placeholder is known.
    let value = Value::from_json_with_placeholder(text).map_err(|error| invalid(&error))?;
    let bytes = value.size_bytes();
    if bytes > bytes_max {
        return Err(Thrown::new(format!(
            "FunctionResultTooLarge: the function returned {bytes} bytes, more than the {bytes_max} that are allowed."
        )));
    }
    if let Some(validator) = validator {
        let fits = validator.check(&value, tables);
        fits.map_err(|failure| Thrown::new(format!("ReturnsValidationError: {failure}")))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use value::{TableName, TableNumber};

    use super::*;

    fn no_tables(_: &TableName) -> Option<TableNumber> {
        None
    }

    #[test]
    fn results_are_held_to_the_limits_of_values_without_a_validator() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let long = |members: usize| format!("[{}]", vec!["0"; members].join(","));
        for (fits, refused) in [
            (nested(64), nested(65)),
            (long(8_192), long(8_193)),
            (r#""\ud83d\ude00""#.to_owned(), r#""\ud83d""#.to_owned()),
            (r#"{"a":1}"#.to_owned(), r#"{"$a":1}"#.to_owned()),
        ] {
            assert!(check(&fits, None, &no_tables, usize::MAX).is_ok(), "{fits}");
            let thrown = check(&refused, None, &no_tables, usize::MAX).expect_err("it is no value");
            assert!(thrown.to_log_text("").starts_with("InvalidReturnValue: "), "{thrown:?}");
        }
    }

    #[test]
    fn results_are_held_to_their_size_and_validator() {
        let message = |result: Result<usize, Thrown>| result.expect_err("it is refused").to_log_text("");
        assert!(message(check("\"abcdef\"", None, &no_tables, 7)).starts_with("FunctionResultTooLarge"));
        assert_eq!(check("\"abcdef\"", None, &no_tables, 8), Ok(8));
        // Bytes count as what they are, not as their text.
        assert_eq!(check(r#"{"$bytes":"AAAAAAAAAAAA"}"#, None, &no_tables, 11), Ok(11));
        assert!(
            message(check(r#"{"$bytes":"AAAAAAAAAAAA"}"#, None, &no_tables, 10)).starts_with("FunctionRes")
        );
        assert!(message(check("{", None, &no_tables, 10)).starts_with("InvalidReturnValue"));
        let null = Validator::Null;
        assert!(message(check("1", Some(&null), &no_tables, 10)).starts_with("ReturnsValidationError: "));
        assert!(check("null", Some(&null), &no_tables, 10).is_ok());
        assert!(check("1", None, &no_tables, 10).is_ok());
    }
}
