//! The two spellings of a function's arguments.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::Error;

/// Brings arguments into their one form, an array whose one element is the arguments object. Clients send that, or the
/// bare object, or nothing for no arguments (`[]`).
pub fn normalize_arguments(arguments: &RawValue) -> Result<Arc<str>, Error> {
    let text = arguments.get().trim();
    if text.starts_with('{') {
        return Ok(format!("[{text}]").into());
    }
    if !text.starts_with('[') {
        return Err(Error::Arguments);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text)?;
    match elements.as_slice() {
        [] => Ok("[{}]".into()),
        [object] if object.get().starts_with('{') => Ok(text.into()),
        _ => Err(Error::Arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(text: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(text).expect("the tests' texts are JSON");
        normalize_arguments(raw).ok().map(|arguments| arguments.to_string())
    }

    #[test]
    fn every_spelling_becomes_an_array_of_one_object() {
        assert_eq!(normalized(r#"[{"a":1}]"#).as_deref(), Some(r#"[{"a":1}]"#));
        assert_eq!(normalized(r#" {"a":1} "#).as_deref(), Some(r#"[{"a":1}]"#));
        assert_eq!(normalized("[ ]").as_deref(), Some("[{}]"));
        assert_eq!(normalized(r#"[ {"a": [1, 2]} ]"#).as_deref(), Some(r#"[ {"a": [1, 2]} ]"#));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["null", "1", "\"x\"", "[1]", "[{},{}]", "[[{}]]", "[null]"] {
            assert_eq!(normalized(text), None, "{text}");
        }
    }
}
