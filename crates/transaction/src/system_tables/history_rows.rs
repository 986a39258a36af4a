//! The rows of the tables about what documents were changed when, and who follows that.

use contract::Timestamp;
use value::{Object, Value, object};

use super::{
    SystemTable,
    rows::{Fields, SystemRow},
};

/// Says that the changes of documents are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeHistoryRow;

/// How far back the notes of changes reach, and who wants them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryStateRow {
    /// Notes up to here are gone.
    pub floor: Timestamp,
    /// When they were asked for last; milliseconds since the Unix epoch.
    pub used_ms: u64,
}

/// Somebody who follows a deployment's data; its id is that of the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSyncRow {
    /// When a page was asked for last; milliseconds since the Unix epoch.
    pub updated_ms: u64,
    /// How far it is, as JSON; for people.
    pub status: String,
}

impl SystemRow for ChangeHistoryRow {
    const TABLE: SystemTable = SystemTable::ChangeHistory;

    fn from_fields(_: &Object) -> Result<Self, String> {
        Ok(ChangeHistoryRow)
    }

    fn to_fields(&self) -> Object {
        Object::new()
    }
}

impl SystemRow for HistoryStateRow {
    const TABLE: SystemTable = SystemTable::HistoryStates;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let floor = u64::try_from(fields.integer("floor")?).ok().and_then(Timestamp::new);
        Ok(HistoryStateRow {
            floor: floor.ok_or("`floor` is no moment of the log")?,
            used_ms: fields.milliseconds("usedMs")?,
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "floor" => Value::Int64(self.floor.as_nanoseconds() as i64),
            "usedMs" => Value::Float64(self.used_ms as f64),
        }
    }
}

impl SystemRow for DataSyncRow {
    const TABLE: SystemTable = SystemTable::DataSyncs;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        Ok(DataSyncRow {
            updated_ms: fields.milliseconds("updatedMs")?,
            status: fields.text("status")?.to_owned(),
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "updatedMs" => Value::Float64(self.updated_ms as f64),
            "status" => self.status.clone(),
        }
    }
}
