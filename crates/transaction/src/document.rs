use bytes::Bytes;
use value::{COMMIT_TIMESTAMP_JSON, ComponentId, Object};

use crate::{Error, Result, catalog::COMPONENT_FIELD};

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

    /// Whether it holds the timestamp of a commit that has none yet.
    pub(crate) fn waits_for_commit(&self) -> bool {
        self.json().contains(COMMIT_TIMESTAMP_JSON)
    }

    /// The size that limits count.
    pub fn size_bytes(&self) -> usize {
        self.decoded().1 as usize
    }

    /// A document that the system keeps for an application, as functions of a component see it; `None` if it is another one's.
    pub(crate) fn shown_to(&self, component: ComponentId) -> Result<Option<Document>> {
        let mut object = self.to_object()?;
        let owner = match object.remove(COMPONENT_FIELD) {
            None => ComponentId::ROOT,
            Some(owner) => match owner.as_str().map(str::parse) {
                Some(Ok(owner)) => owner,
                _ => return Err(Error::stored("a document of no component")),
            },
        };
        Ok((owner == component).then(|| match owner.is_root() {
            true => self.clone(),
            false => Document::from_object(&object),
        }))
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
