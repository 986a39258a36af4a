//! The row that says whether a deployment runs functions.

use value::Object;

use super::{SystemTable, rows::SystemRow};

/// Says that the deployment is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PauseRow;

impl SystemRow for PauseRow {
    const TABLE: SystemTable = SystemTable::BackendState;

    fn from_fields(_: &Object) -> Result<Self, String> {
        Ok(PauseRow)
    }

    fn to_fields(&self) -> Object {
        Object::new()
    }
}
