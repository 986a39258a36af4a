//! The result of a function.

use schema::{TableLookup, Validator};
use value::Value;

use super::Thrown;

/// Fails, as the caller shall see it, unless `text` is a value that fits the validator.
pub(super) fn check(
    text: &str,
    validator: Option<&Validator>,
    tables: &dyn TableLookup,
    bytes_max: usize,
) -> Result<(), Thrown> {
    if text.len() > bytes_max {
        return Err(Thrown::new(format!(
            "FunctionResultTooLarge: the function returned {} bytes, more than the {bytes_max} that are allowed.",
            text.len()
        )));
    }
    let invalid = |reason: &dyn std::fmt::Display| {
        Thrown::new(format!("InvalidReturnValue: the function did not return a Convex value: {reason}"))
    };
    // The limits of values hold whether there is a validator or not: clients and validators elsewhere read it as one.
    let value = Value::from_json(text).map_err(|error| invalid(&error))?;
    let Some(validator) = validator else { return Ok(()) };
    let fits = validator.check(&value, tables);
    fits.map_err(|failure| Thrown::new(format!("ReturnsValidationError: {failure}")))
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
            assert_eq!(check(&fits, None, &no_tables, usize::MAX), Ok(()));
            let thrown = check(&refused, None, &no_tables, usize::MAX).expect_err("it is no value");
            assert!(thrown.to_log_text("").starts_with("InvalidReturnValue: "), "{thrown:?}");
        }
    }

    #[test]
    fn results_are_held_to_their_size_and_validator() {
        let message = |result: Result<(), Thrown>| result.expect_err("it is refused").to_log_text("");
        assert!(message(check("\"abcdef\"", None, &no_tables, 4)).starts_with("FunctionResultTooLarge"));
        assert!(message(check("{", None, &no_tables, 10)).starts_with("InvalidReturnValue"));
        let null = Validator::Null;
        assert!(message(check("1", Some(&null), &no_tables, 10)).starts_with("ReturnsValidationError: "));
        assert!(check("null", Some(&null), &no_tables, 10).is_ok());
        assert!(check("1", None, &no_tables, 10).is_ok());
    }
}
