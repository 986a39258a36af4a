use std::collections::{BTreeMap, btree_map};

use crate::Value;

/// A value's or document's fields, ordered by name.
///
/// Objects that came from JSON have legal field names; whoever inserts by hand answers for the name
/// (see [`FieldName`](crate::FieldName)), and [`Value::check`] finds illegal ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object(BTreeMap<String, Value>);

/// Builds an [`Object`] from `"name" => value` pairs; the values are anything that converts into a [`Value`].
#[macro_export]
macro_rules! object {
    ($($name:expr => $value:expr),* $(,)?) => {
        $crate::Object::from_iter([$((::std::string::String::from($name), $crate::Value::from($value))),*])
    };
}

impl Object {
    /// Without fields.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn from_fields(fields: BTreeMap<String, Value>) -> Self {
        Self(fields)
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The value of a field, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// Whether there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Sets a field; what it held before comes back.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }

    /// Removes a field; what it held comes back.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields in the order of their names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Value> {
        self.0.iter()
    }

    /// The names of the fields, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether the placeholder of the commit timestamp occurs anywhere.
    pub fn contains_commit_timestamp(&self) -> bool {
        self.0.values().any(Value::contains_commit_timestamp)
    }

    /// Puts the timestamp of the commit, in nanoseconds, in place of every placeholder.
    pub fn resolve_commit_timestamp(&mut self, timestamp: i64) {
        self.0.values_mut().for_each(|value| value.resolve_commit_timestamp(timestamp));
    }
}

impl FromIterator<(String, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(fields: I) -> Self {
        Self(BTreeMap::from_iter(fields))
    }
}

impl IntoIterator for Object {
    type Item = (String, Value);
    type IntoIter = btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'o> IntoIterator for &'o Object {
    type Item = (&'o String, &'o Value);
    type IntoIter = btree_map::Iter<'o, String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
