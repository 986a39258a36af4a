//! What a document must hold beyond being an object.

use crate::limits::ValueLimits;

use crate::{Object, Value, ValueError};

/// The field that holds a document's id, a string.
pub const ID_FIELD: &str = "_id";
/// The field that holds when a document was inserted: a Float64, milliseconds since the Unix epoch.
pub const CREATION_TIME_FIELD: &str = "_creationTime";

/// Checks a whole document, its system fields included: size, nesting, and that no other top-level field begins with
/// an underscore. Whether it fits its table's schema is not asked here.
pub fn check_document(document: &Object, limits: &ValueLimits) -> Result<(), ValueError> {
    for name in document.names() {
        if name.starts_with('_') && name != ID_FIELD && name != CREATION_TIME_FIELD {
            return Err(ValueError::ReservedField { name: name.to_owned() });
        }
    }
    if let Some(id) = document.get(ID_FIELD)
        && id.as_str().is_none()
    {
        return Err(ValueError::InvalidIdField { type_name: id.type_name() });
    }
    if let Some(time) = document.get(CREATION_TIME_FIELD)
        && !is_creation_time(time)
    {
        return Err(ValueError::InvalidCreationTime);
    }
    let nesting = document.nesting();
    if nesting > limits.document_nesting_max {
        return Err(ValueError::DocumentTooNested { nesting, nesting_max: limits.document_nesting_max });
    }
    let size_bytes = document.size_bytes();
    if size_bytes > limits.document_bytes_max {
        return Err(ValueError::TooLarge { size_bytes, size_bytes_max: limits.document_bytes_max });
    }
    Ok(())
}

/// Creation times are positive and below 2^53 ms, where whole milliseconds end.
fn is_creation_time(time: &Value) -> bool {
    matches!(time, Value::Float64(time) if *time > 0.0 && *time < 9_007_199_254_740_992.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn a_document_may_nest_sixteen_deep_and_weigh_a_mebibyte() {
        let limits = ValueLimits::DEFAULT;
        assert_eq!(check_document(&object! {"a" => nested(15)}, &limits), Ok(()));
        let error = check_document(&object! {"a" => nested(16)}, &limits).unwrap_err();
        assert_eq!(error.code(), "InvalidDocumentError");

        let fits = "x".repeat(limits.document_bytes_max - 2 - 2 - 2);
        assert_eq!(check_document(&object! {"a" => fits.clone()}, &limits), Ok(()));
        let error = check_document(&object! {"a" => fits + "x"}, &limits).unwrap_err();
        assert_eq!(error.code(), "ValueTooLargeError");
    }

    #[test]
    fn only_the_system_fields_begin_with_an_underscore() {
        let limits = ValueLimits::DEFAULT;
        assert_eq!(
            check_document(&object! {"_id" => "x", "_creationTime" => 1.5, "a_" => 1.0}, &limits),
            Ok(())
        );
        let error = check_document(&object! {"_x" => 1.0}, &limits).unwrap_err();
        assert!(error.code() == "InvalidDocumentError" && error.to_string().contains("`_x`"));
        assert_eq!(check_document(&object! {"_id" => 1.0}, &limits).unwrap_err().code(), "InvalidIdError");
        for time in [Value::Float64(0.0), Value::Float64(f64::NAN), Value::Float64(1e300), Value::Int64(1)] {
            let error = check_document(&object! {"_creationTime" => time}, &limits).unwrap_err();
            assert_eq!(error.code(), "InvalidCreationTimeError");
        }
        let inner = Value::from(object! {"_x" => 1.0});
        assert_eq!(
            check_document(&object! {"a" => inner}, &limits),
            Ok(()),
            "only the top level is reserved"
        );
    }
}
