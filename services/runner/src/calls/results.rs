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
    match validator {
        // Large results are not worth a second look; that it is JSON must be certain, for it goes into messages.
        None => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|error| invalid(&error))
        }
        Some(validator) => {
            let value = Value::from_json(text).map_err(|error| invalid(&error))?;
            let fits = validator.check(&value, tables);
            fits.map_err(|failure| Thrown::new(format!("ReturnsValidationError: {failure}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use value::{TableName, TableNumber};

    use super::*;

    fn no_tables(_: &TableName) -> Option<TableNumber> {
        None
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
