use bytes::Bytes;
use value::Object;

use crate::{Error, Result};

/// A document, as it is stored. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    stored: Bytes,
}

impl Document {
    /// `object` is complete, with its system fields.
    pub(crate) fn from_object(object: &Object) -> Document {
        let size = u32::try_from(object.size_bytes()).unwrap_or(u32::MAX);
        Document { stored: contract::document::encode(&object.to_json(), size) }
    }

    pub(crate) fn from_stored(stored: Bytes) -> Result<Document> {
        contract::document::decode(&stored)?;
        Ok(Document { stored })
    }

    pub(crate) fn stored(&self) -> &Bytes {
        &self.stored
    }

    fn decoded(&self) -> (&str, u32) {
        contract::document::decode(&self.stored).expect("it was decoded when it was made")
    }

    /// The canonical convex-encoded JSON, ready for the function.
    pub fn json(&self) -> &str {
        self.decoded().0
    }

    /// The size that limits count.
    pub fn size_bytes(&self) -> usize {
        self.decoded().1 as usize
    }

    /// Parses the document. Costs time: once per document and use.
    pub fn to_object(&self) -> Result<Object> {
        let value = value::Value::from_json_with_placeholder(self.json()).map_err(Error::stored)?;
        value.into_object().map_err(|_| Error::stored("a document is not an object"))
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.json())
    }
}
