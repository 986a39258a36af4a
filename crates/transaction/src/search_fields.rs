//! What text and vector indexes are made of: the kinds of indexes, and what a document is in each.

use bytes::Bytes;
use contract::{FilterValue, TextKey};
use relevance::{DocumentTerms, filter_value};
use value::{FieldPath, Object, Value};

/// What kind of index it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexKind {
    /// Documents in the order of their fields.
    #[default]
    Ordered,
    /// For text search: documents with a text in its field.
    Text {
        /// By which searches may filter, in this order.
        filter_fields: Vec<FieldPath>,
    },
    /// For vector search: documents with a vector in its field.
    Vector {
        /// How many numbers a vector has.
        dimensions: usize,
        /// By which searches may filter, in this order.
        filter_fields: Vec<FieldPath>,
    },
}

impl IndexKind {
    /// As rows spell it.
    pub(crate) fn to_value(&self) -> Value {
        let paths = |fields: &[FieldPath]| {
            Value::Array(fields.iter().map(|field| Value::String(field.to_string())).collect())
        };
        let mut object = Object::new();
        let name = match self {
            IndexKind::Ordered => "ordered",
            IndexKind::Text { filter_fields } => {
                object.insert("filterFields", paths(filter_fields));
                "text"
            }
            IndexKind::Vector { dimensions, filter_fields } => {
                object.insert("dimensions", *dimensions as f64);
                object.insert("filterFields", paths(filter_fields));
                "vector"
            }
        };
        object.insert("type", name);
        Value::Object(object)
    }

    /// The inverse, of the row's fields. Rows of before there were other kinds say nothing.
    pub(crate) fn from_fields(fields: &Object) -> Result<IndexKind, String> {
        let Some(kind) = fields.get("kind") else { return Ok(IndexKind::Ordered) };
        let wrong = || "`kind` is not that of an index".to_owned();
        let kind = kind.as_object().ok_or_else(wrong)?;
        let filter_fields = || -> Option<Vec<FieldPath>> {
            let fields = kind.get("filterFields")?.as_array()?;
            fields.iter().map(|field| field.as_str()?.parse().ok()).collect()
        };
        match kind.get("type").and_then(Value::as_str) {
            Some("ordered") => Ok(IndexKind::Ordered),
            Some("text") => Ok(IndexKind::Text { filter_fields: filter_fields().ok_or_else(wrong)? }),
            Some("vector") => {
                let dimensions = kind.get("dimensions").and_then(Value::as_f64).ok_or_else(wrong)?;
                let filter_fields = filter_fields().ok_or_else(wrong)?;
                Ok(IndexKind::Vector { dimensions: dimensions as usize, filter_fields })
            }
            _ => Err(wrong()),
        }
    }

    /// By which fields searches may filter.
    pub fn filter_fields(&self) -> &[FieldPath] {
        match self {
            IndexKind::Ordered => &[],
            IndexKind::Text { filter_fields } | IndexKind::Vector { filter_fields, .. } => filter_fields,
        }
    }
}

/// What searches filter the document by.
pub fn filter_values(document: &Object, filter_fields: &[FieldPath]) -> Vec<FilterValue> {
    filter_fields.iter().map(|field| filter_value(field.lookup(document))).collect()
}

/// The text that a text index over `fields` has of the document, if it has one.
pub fn text_of<'d>(document: &'d Object, fields: &[FieldPath]) -> Option<&'d str> {
    fields.first()?.lookup(document)?.as_str()
}

/// The vector that a vector index over `fields` has of the document, if it has one of so many finite numbers.
pub fn vector_of(document: &Object, fields: &[FieldPath], dimensions: usize) -> Option<Vec<f32>> {
    let members = fields.first()?.lookup(document)?.as_array()?;
    if members.len() != dimensions {
        return None;
    }
    let number = |member: &Value| member.as_f64().filter(|number| number.is_finite());
    let numbers: Option<Vec<f64>> = members.iter().map(number).collect();
    Some(normalized(&numbers?))
}

/// The vector's direction: scaled to length 1, in 64 bits, so that very large and very small numbers count as well. Zeros stay zeros.
pub fn normalized(vector: &[f64]) -> Vec<f32> {
    let largest = vector.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
    if largest == 0.0 {
        return vec![0.0; vector.len()];
    }
    let length = vector.iter().map(|number| (number / largest).powi(2)).sum::<f64>().sqrt();
    vector.iter().map(|number| (number / largest / length) as f32).collect()
}

/// The document's key in a text index.
pub(crate) fn text_key(
    document: &Object,
    fields: &[FieldPath],
    filter_fields: &[FieldPath],
) -> Option<Bytes> {
    let terms = DocumentTerms::of(text_of(document, fields)?);
    let filters = filter_values(document, filter_fields);
    Some(TextKey::encode(&filters, terms.counts.keys().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_a_direction_whatever_its_length() {
        let same = |vector: &[f64], expected: [f32; 2]| {
            let normalized = normalized(vector);
            assert!(
                normalized.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-6),
                "{vector:?}"
            );
        };
        same(&[3.0, 4.0], [0.6, 0.8]);
        same(&[3e300, 4e300], [0.6, 0.8]);
        same(&[-3e-300, 0.0], [-1.0, 0.0]);
        same(&[0.0, 0.0], [0.0, 0.0]);
    }

    #[test]
    fn only_arrays_of_exactly_so_many_numbers_are_vectors() {
        let fields = ["v".parse::<FieldPath>().expect("a path")];
        let vector = |json: &str| {
            let Value::Object(object) = Value::from_json(json).expect("it is JSON") else { panic!("{json}") };
            vector_of(&object, &fields, 2)
        };
        assert!(vector(r#"{"v": [1, 2]}"#).is_some());
        for other in [r#"{"v": [1]}"#, r#"{"v": [1, 2, 3]}"#, r#"{"v": [1, null]}"#, r#"{"v": "ab"}"#, "{}"] {
            assert_eq!(vector(other), None, "{other}");
        }
        assert_eq!(vector(r#"{"v": [1, {"$float": "AAAAAAAA8H8="}]}"#), None, "infinity");
    }
}
