//! A JSON tree with the path to where one is, for errors that name it.

use serde_json::{Map, Value as Json};

/// A position in a JSON tree.
#[derive(Clone, Copy)]
pub(crate) struct Node<'j> {
    pub json: &'j Json,
    parent: Option<&'j Node<'j>>,
    step: Step<'j>,
}

#[derive(Clone, Copy)]
enum Step<'j> {
    Root,
    Field(&'j str),
    Member(usize),
}

/// What is wrong at a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub path: String,
    pub reason: String,
}

impl<'j> Node<'j> {
    pub fn root(json: &'j Json) -> Self {
        Self { json, parent: None, step: Step::Root }
    }

    pub fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault { path: self.path(), reason: reason.into() }
    }

    fn path(&self) -> String {
        let mut steps = Vec::new();
        let mut node = Some(self);
        while let Some(at) = node {
            match at.step {
                Step::Root => {}
                Step::Field(name) => steps.push(format!(".{name}")),
                Step::Member(position) => steps.push(format!("[{position}]")),
            }
            node = at.parent;
        }
        if steps.is_empty() { ".".to_owned() } else { steps.into_iter().rev().collect() }
    }

    pub fn object(&self) -> Result<&'j Map<String, Json>, Fault> {
        self.json.as_object().ok_or_else(|| self.fault("an object is expected"))
    }

    pub fn string(&self) -> Result<&'j str, Fault> {
        self.json.as_str().ok_or_else(|| self.fault("a string is expected"))
    }

    pub fn boolean(&self) -> Result<bool, Fault> {
        self.json.as_bool().ok_or_else(|| self.fault("true or false is expected"))
    }

    /// The text at this node as a name or path.
    pub fn text<T: std::str::FromStr<Err = value::ValueError>>(&self) -> Result<T, Fault> {
        self.string()?.parse().map_err(|error: value::ValueError| self.fault(error.to_string()))
    }

    /// A field that must be there.
    pub fn field<'n>(&'n self, name: &'n str) -> Result<Node<'n>, Fault> {
        self.optional(name)?.ok_or_else(|| self.fault(format!("the field `{name}` is missing")))
    }

    /// A field that may be missing.
    pub fn optional<'n>(&'n self, name: &'n str) -> Result<Option<Node<'n>>, Fault> {
        let json = self.object()?.get(name);
        Ok(json.map(|json| Node { json, parent: Some(self), step: Step::Field(name) }))
    }

    pub fn fields<'n>(&'n self) -> Result<impl Iterator<Item = (&'n str, Node<'n>)>, Fault> {
        let fields = self.object()?.iter();
        Ok(fields
            .map(|(name, json)| (name.as_str(), Node { json, parent: Some(self), step: Step::Field(name) })))
    }

    pub fn members<'n>(&'n self) -> Result<impl Iterator<Item = Node<'n>>, Fault> {
        let members =
            self.json.as_array().ok_or_else(|| self.fault("an array is expected"))?.iter().enumerate();
        Ok(members.map(|(position, json)| Node { json, parent: Some(self), step: Step::Member(position) }))
    }
}
