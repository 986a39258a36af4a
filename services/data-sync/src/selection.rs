//! Which components, tables and columns are synced.

use std::collections::BTreeMap;

use contract::{Error, Result};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use value::{ID_FIELD, Object};

/// What is named is as it says, everything else as `other` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice<T> {
    other: bool,
    named: BTreeMap<String, Named<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named<T> {
    Whole(bool),
    Part(T),
}

/// A selection: components, their tables, their columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection(Option<Choice<Choice<Choice<()>>>>);

/// The columns of a table that are synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns(Option<Choice<()>>);

impl Selection {
    /// Everything without a text.
    pub fn parse(text: Option<&str>) -> Result<Selection> {
        let Some(text) = text else { return Ok(Selection(None)) };
        let json: Json = serde_json::from_str(text).map_err(|_| invalid("it is not JSON"))?;
        if json.is_null() {
            return Ok(Selection(None));
        }
        if !json.is_object() {
            return Err(invalid("it must be an object"));
        }
        let components = choice(&json, "the selection", |json, path| {
            choice(json, path, |json, path| {
                choice(json, path, |_, path| Err(invalid(&format!("{path} must be \"incl\" or \"excl\""))))
            })
        })?;
        Ok(Selection(Some(components)))
    }

    /// The columns of a table that are synced; `None` if the table is not.
    pub fn columns(&self, component: &str, table: &str) -> Option<Columns> {
        let Some(components) = &self.0 else { return Some(Columns(None)) };
        let tables = match components.named.get(component) {
            Some(Named::Part(tables)) => tables,
            Some(Named::Whole(included)) => return included.then_some(Columns(None)),
            None => return components.other.then_some(Columns(None)),
        };
        match tables.named.get(table) {
            Some(Named::Part(columns)) => Some(Columns(Some(columns.clone()))),
            Some(Named::Whole(included)) => included.then_some(Columns(None)),
            None => tables.other.then_some(Columns(None)),
        }
    }
}

impl Columns {
    /// Leaves in a document what is synced of it.
    pub fn filter(&self, document: Object) -> Object {
        let Some(columns) = &self.0 else { return document };
        let is_included = |name: &str| match columns.named.get(name) {
            _ if name == ID_FIELD => true,
            Some(Named::Whole(included)) => *included,
            Some(Named::Part(())) | None => columns.other,
        };
        let fields: Vec<_> = document.iter().filter(|(name, _)| is_included(name)).collect();
        fields.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Differs where other columns are synced; short, to be kept in a cursor.
    pub fn fingerprint(&self) -> String {
        let Some(columns) = &self.0 else { return String::new() };
        let mut digest = Sha256::new();
        digest.update([u8::from(columns.other)]);
        for (name, named) in &columns.named {
            let included = *named == Named::Whole(true);
            digest.update((name.len() as u64).to_be_bytes());
            digest.update(name.as_bytes());
            digest.update([u8::from(included)]);
        }
        hex::encode(&digest.finalize()[..8])
    }
}

fn choice<T>(json: &Json, path: &str, part: impl Fn(&Json, &str) -> Result<T>) -> Result<Choice<T>> {
    let fields = json
        .as_object()
        .ok_or_else(|| invalid(&format!("{path} must be an object, \"incl\" or \"excl\"")))?;
    let mut choice = Choice { other: false, named: BTreeMap::new() };
    let other = fields.get("_other").and_then(included);
    choice.other = other.ok_or_else(|| invalid(&format!("{path} must have _other, \"incl\" or \"excl\"")))?;
    for (name, json) in fields.iter().filter(|(name, _)| *name != "_other") {
        let named = match included(json) {
            Some(false) if name == ID_FIELD => return Err(invalid("_id can't be excluded")),
            Some(included) => Named::Whole(included),
            None => Named::Part(part(json, &format!("{path}.{name:?}"))?),
        };
        choice.named.insert(name.clone(), named);
    }
    Ok(choice)
}

fn included(json: &Json) -> Option<bool> {
    match json.as_str()? {
        "incl" => Some(true),
        "excl" => Some(false),
        _ => None,
    }
}

fn invalid(why: &str) -> Error {
    Error::bad_request("InvalidSelection", format!("The selection can't be used: {why}."))
}

#[cfg(test)]
mod tests {
    use value::object;

    use super::*;

    const SELECTION: &str = r#"{"_other": "incl", "audit": "excl", "": {"_other": "excl", "posts": {"_other": "incl"},
        "users": {"_other": "incl", "ssn": "excl"}, "teams": {"_other": "excl", "name": "incl"}, "all": "incl"}}"#;

    #[test]
    fn what_is_named_is_as_it_says_and_everything_else_as_other_says() {
        let selection = Selection::parse(Some(SELECTION)).expect("it is one");
        let person = object! {"_id" => "1", "name" => "Ada", "ssn" => "secret"};
        let names = |component: &str, table: &str| {
            let columns = selection.columns(component, table)?;
            Some(columns.filter(person.clone()).names().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(names("", "users"), Some(vec!["_id".into(), "name".into()]));
        assert_eq!(names("", "teams"), Some(vec!["_id".into(), "name".into()]));
        assert_eq!(names("", "posts").map(|names| names.len()), Some(3));
        assert_eq!(names("", "all").map(|names| names.len()), Some(3));
        assert_eq!(names("", "other"), None);
        assert_eq!(names("audit", "events"), None);
        assert_eq!(names("mail", "events").map(|names| names.len()), Some(3));
        assert!(Selection::parse(None).expect("everything").columns("x", "y").is_some());
    }

    #[test]
    fn other_columns_have_another_fingerprint() {
        let fingerprint = |text: &str| {
            let selection = Selection::parse(Some(text)).expect(text);
            selection.columns("", "t").expect("it is synced").fingerprint()
        };
        let all = fingerprint(r#"{"_other": "incl"}"#);
        let one = fingerprint(
            r#"{"_other": "incl", "": {"_other": "incl", "t": {"_other": "incl", "a": "excl"}}}"#,
        );
        let two = fingerprint(
            r#"{"_other": "incl", "": {"_other": "incl", "t": {"_other": "incl", "b": "excl"}}}"#,
        );
        assert!(all != one && one != two && all != two);
    }

    #[test]
    fn what_is_no_selection_is_refused_with_what_is_wrong() {
        for (text, why) in [
            ("nonsense", "it is not JSON"),
            ("[]", "it must be an object."),
            ("\"incl\"", "it must be an object."),
            (r#"{"": "incl"}"#, "_other"),
            (r#"{"_other": "maybe"}"#, "_other"),
            (r#"{"_other": "incl", "": {"t": "incl"}}"#, "_other"),
            (
                r#"{"_other": "incl", "": {"_other": "incl", "t": {"_other": "incl", "_id": "excl"}}}"#,
                "_id can't",
            ),
            (r#"{"_other": "incl", "": {"_other": "incl", "t": {"_other": "incl", "a": {}}}}"#, "must be"),
        ] {
            let error = Selection::parse(Some(text)).expect_err(text);
            assert_eq!(error.code, "InvalidSelection");
            assert!(error.message.contains(why), "{text}: {}", error.message);
        }
    }
}
