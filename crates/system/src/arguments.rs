use transaction::{Error, Result};
use value::{ComponentId, Object, Value};

/// A function's arguments, read with errors that name the field.
pub(crate) struct Arguments<'a>(&'a Object);

/// Which page is asked for.
pub(crate) struct PaginationOptions {
    pub cursor: Option<String>,
    pub end_cursor: Option<String>,
    pub items: f64,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(arguments: &'a Value) -> Result<Arguments<'a>> {
        let only = match arguments {
            Value::Array(members) if members.len() == 1 => &members[0],
            other => other,
        };
        match only.as_object() {
            Some(object) => Ok(Arguments(object)),
            None => Err(wrong("the arguments must be one object")),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str> {
        let text = self.0.get(name).and_then(Value::as_str);
        text.ok_or_else(|| wrong(&format!("`{name}` must be a string")))
    }

    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(&format!("`{name}` must be a string or null"))),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<f64> {
        let number = self.0.get(name).and_then(Value::as_f64);
        number.ok_or_else(|| wrong(&format!("`{name}` must be a number")))
    }

    pub(crate) fn object(&self, name: &str) -> Result<&'a Object> {
        let object = self.0.get(name).and_then(Value::as_object);
        object.ok_or_else(|| wrong(&format!("`{name}` must be an object")))
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value]> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.ok_or_else(|| wrong(&format!("`{name}` must be an array")))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<&'a str>> {
        let texts = self.list(name)?.iter().map(Value::as_str).collect::<Option<_>>();
        texts.ok_or_else(|| wrong(&format!("`{name}` must be an array of strings")))
    }

    /// None where nothing is said.
    pub(crate) fn optional_texts(&self, name: &str) -> Result<Vec<&'a str>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(_) => self.texts(name),
        }
    }

    /// The component in which the function is to work, if the arguments name another one than the call.
    pub(crate) fn component(&self) -> Result<Option<ComponentId>> {
        let Some(id) = self.optional_text("componentId")? else { return Ok(None) };
        id.parse().map(Some).map_err(|_| wrong("`componentId` is not the id of a component"))
    }

    /// Ascending where nothing else is said.
    pub(crate) fn order(&self, name: &str) -> Result<contract::Order> {
        match self.optional_text(name)?.as_deref() {
            None | Some("asc") => Ok(contract::Order::Ascending),
            Some("desc") => Ok(contract::Order::Descending),
            Some(_) => Err(wrong(&format!("`{name}` must be \"asc\" or \"desc\""))),
        }
    }

    pub(crate) fn pagination(&self) -> Result<PaginationOptions> {
        let options = self.0.get("paginationOpts").and_then(Value::as_object);
        let options = Arguments(options.ok_or_else(|| wrong("`paginationOpts` must be an object"))?);
        let items = options.0.get("numItems").and_then(Value::as_f64);
        Ok(PaginationOptions {
            cursor: options.optional_text("cursor")?,
            end_cursor: options.optional_text("endCursor")?,
            items: items.ok_or_else(|| wrong("`numItems` must be a number"))?,
        })
    }
}

pub(crate) fn wrong(message: &str) -> Error {
    Error::user("ArgumentValidationError", message)
}
