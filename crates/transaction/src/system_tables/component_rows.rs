//! The rows of components.

use value::{ComponentPath, Object, Value, object};

use super::{
    SystemTable,
    rows::{Fields, SystemRow},
};

/// An instance of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentRow {
    /// The names from the app down to it.
    pub path: ComponentPath,
    /// The definition that it is an instance of, as pushes name it.
    pub definition: String,
    /// Whether the pushed code mounts it. Of one that is not mounted any more the data is kept.
    pub is_mounted: bool,
    /// The environment variables that its parent gives it.
    pub variables: Vec<(String, VariableBinding)>,
    /// Below which path of its parent its router answers requests: with a slash at both ends. `None` if it answers none.
    pub http_prefix: Option<String>,
}

/// Where a component has an environment variable from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VariableBinding {
    /// It always has this value.
    Value(String),
    /// It is the parent's variable of this name.
    Parent(String),
}

impl SystemRow for ComponentRow {
    const TABLE: SystemTable = SystemTable::Components;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let wrong = || "`variables` is no array of variables".to_owned();
        let binding = |variable: &Value| {
            let variable = Fields(variable.as_object().ok_or_else(wrong)?);
            let binding = match variable.optional_text("parent")? {
                Some(name) => VariableBinding::Parent(name.to_owned()),
                None => VariableBinding::Value(variable.text("value")?.to_owned()),
            };
            Ok::<_, String>((variable.text("name")?.to_owned(), binding))
        };
        let variables = fields.value("variables")?.as_array().ok_or_else(wrong)?;
        Ok(ComponentRow {
            path: fields.parse("path")?,
            definition: fields.text("definition")?.to_owned(),
            is_mounted: fields.boolean("isMounted")?,
            variables: variables.iter().map(binding).collect::<Result<_, _>>()?,
            http_prefix: fields.optional_text("httpPrefix")?.map(str::to_owned),
        })
    }

    fn to_fields(&self) -> Object {
        let binding = |(name, binding): &(String, VariableBinding)| {
            Value::Object(match binding {
                VariableBinding::Value(value) => {
                    object! { "name" => name.as_str(), "value" => value.as_str() }
                }
                VariableBinding::Parent(parent) => {
                    object! { "name" => name.as_str(), "parent" => parent.as_str() }
                }
            })
        };
        let mut fields = object! {
            "path" => self.path.as_str(),
            "definition" => self.definition.as_str(),
            "isMounted" => self.is_mounted,
            "variables" => self.variables.iter().map(binding).collect::<Vec<_>>(),
        };
        if let Some(prefix) = &self.http_prefix {
            fields.insert("httpPrefix", prefix.as_str());
        }
        fields
    }
}
