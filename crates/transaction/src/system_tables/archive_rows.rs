//! The rows about exports and imports. What tools show of them, `state` above all, has the names that these tools know.

use std::collections::BTreeMap;

use contract::Timestamp;
use value::{ComponentId, DocumentId, InternalId, Object, TableName, TableNumber, Value, object};

use super::{
    SystemRow, SystemTable,
    rows::{Fields, texts},
};

/// That a process works on something, until another one sees that it no longer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which process; drawn at its start.
    pub holder: [u8; 16],
    /// Grows while it works.
    pub beat: u64,
}

/// An export of the deployment's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRow {
    /// How far it is.
    pub state: ExportState,
    /// Whether it has the bytes of files.
    pub include_storage: bool,
    /// The path of the component whose data it has, with those within it; empty for the app, with all of them.
    pub component: String,
    /// Who makes it.
    pub claim: Option<Claim>,
    /// How often the work on it has failed for no fault of its own.
    pub attempts: u32,
    /// The object that holds it, or will.
    pub object: Option<DocumentId>,
}

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportState {
    /// Waits for somebody to make it.
    Requested,
    /// Somebody makes it.
    InProgress {
        /// What is being done.
        message: String,
    },
    /// Can be fetched.
    Completed {
        /// The moment whose data it has.
        start: Timestamp,
        /// When it was complete; nanoseconds since the Unix epoch.
        complete_ns: u64,
        /// When it goes; nanoseconds since the Unix epoch.
        expires_ns: u64,
        /// Bytes of the archive.
        size_bytes: u64,
    },
    /// Could not be made.
    Failed {
        /// Why.
        message: String,
    },
    /// Was given up by somebody.
    Canceled,
}

/// What is imported, and into what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOrder {
    /// Of the uploaded bytes.
    pub format: ImportFormat,
    /// What becomes of the documents that are there.
    pub mode: ImportMode,
    /// The path of the component that it is for; empty for the app.
    pub component: String,
    /// Where an import of one table goes.
    pub table: Option<TableName>,
}

/// How uploaded bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// Lines of comma-separated values behind a line of names.
    Csv,
    /// An object in each line.
    JsonLines,
    /// An array of objects.
    JsonArray,
    /// An archive as exports make it.
    Zip,
}

/// What an import does with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// The tables must have no documents.
    RequireEmpty,
    /// The documents come to those that are there.
    Append,
    /// The tables have nothing but what is imported.
    Replace,
    /// The same, and other tables have nothing.
    ReplaceAll,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// How far it is.
    pub state: ImportState,
    /// What is to be done; `None` until everything is uploaded.
    pub order: Option<ImportOrder>,
    /// Who works on it.
    pub claim: Option<Claim>,
    /// How often the work on it has failed for no fault of its own since something was written.
    pub attempts: u32,
    /// Documents of all tables that are written.
    pub position: u64,
    /// Nothing is left of it but what it has imported.
    pub is_cleared: bool,
}

/// A table that an import fills, until the import is over. It has a row of its own, since the import's is written with every step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportTableRow {
    /// The internal id of the import.
    pub import: InternalId,
    /// Where it stands in the order in which the import fills its tables.
    pub place: u32,
    /// What is filled.
    pub table: ImportTable,
}

/// What an import fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportTable {
    /// Whose table it is.
    pub component: ComponentId,
    /// Under which functions will know it.
    pub name: TableName,
    /// The number that its documents' ids have; `None` if they have none yet.
    pub number: Option<TableNumber>,
    /// The table that is filled, once it is there.
    pub tablet: Option<InternalId>,
    /// The schema that its documents are held against, once it is there.
    pub schema: Option<DocumentId>,
    /// Whether the table that it takes the place of must have no documents.
    pub must_be_empty: bool,
    /// How many documents come into it.
    pub documents: u64,
    /// The tables whose ids its documents have by the schema, with the numbers that these ids were held against.
    pub references: BTreeMap<TableName, TableNumber>,
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// Its bytes are on their way.
    Uploading,
    /// They are all there, and are being read.
    Uploaded,
    /// It can be done.
    WaitingForConfirmation {
        /// What it will do.
        message: String,
        /// Whether a person must have read that.
        must_be_confirmed: bool,
    },
    /// Documents are written.
    InProgress {
        /// What is being done.
        message: String,
        /// What has been done.
        done: Vec<String>,
    },
    /// All of it took effect.
    Completed {
        /// The documents that it brought.
        documents: u64,
        /// When; nanoseconds since the Unix epoch.
        at_ns: u64,
    },
    /// None of it took effect, but for what an append had written.
    Failed {
        /// Why.
        message: String,
    },
}

impl ImportFormat {
    /// All of them.
    pub const ALL: [ImportFormat; 4] =
        [ImportFormat::Csv, ImportFormat::JsonLines, ImportFormat::JsonArray, ImportFormat::Zip];

    /// As tools spell it.
    pub const fn name(self) -> &'static str {
        match self {
            ImportFormat::Csv => "csv",
            ImportFormat::JsonLines => "jsonLines",
            ImportFormat::JsonArray => "jsonArray",
            ImportFormat::Zip => "zip",
        }
    }

    /// The inverse of [`ImportFormat::name`].
    pub fn from_name(name: &str) -> Option<ImportFormat> {
        ImportFormat::ALL.into_iter().find(|format| format.name() == name)
    }
}

impl ImportMode {
    /// All of them.
    pub const ALL: [ImportMode; 4] =
        [ImportMode::RequireEmpty, ImportMode::Append, ImportMode::Replace, ImportMode::ReplaceAll];

    /// As tools spell it.
    pub const fn name(self) -> &'static str {
        match self {
            ImportMode::RequireEmpty => "requireEmpty",
            ImportMode::Append => "append",
            ImportMode::Replace => "replace",
            ImportMode::ReplaceAll => "replaceAll",
        }
    }

    /// The inverse of [`ImportMode::name`].
    pub fn from_name(name: &str) -> Option<ImportMode> {
        ImportMode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

impl ImportState {
    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        matches!(self, ImportState::Completed { .. } | ImportState::Failed { .. })
    }
}

impl ExportState {
    /// Whether somebody makes it, or will.
    pub fn is_under_way(&self) -> bool {
        matches!(self, ExportState::Requested | ExportState::InProgress { .. })
    }
}

fn put_claim(fields: &mut Object, claim: Option<Claim>) {
    if let Some(Claim { holder, beat }) = claim {
        fields.insert("holder", hex::encode(holder));
        fields.insert("beat", beat as f64);
    }
}

fn claim_in(fields: &Fields<'_>) -> Result<Option<Claim>, String> {
    let Some(text) = fields.optional_text("holder")? else { return Ok(None) };
    let mut holder = [0; 16];
    hex::decode_to_slice(text, &mut holder).map_err(|error| format!("`holder`: {error}"))?;
    Ok(Some(Claim { holder, beat: fields.exact_u64("beat")? }))
}

fn optional_id(fields: &Fields<'_>, name: &str) -> Result<Option<DocumentId>, String> {
    fields.optional_text(name)?.map(|_| fields.parse(name)).transpose()
}

fn nanoseconds(fields: &Fields<'_>, name: &str) -> Result<u64, String> {
    u64::try_from(fields.integer(name)?).map_err(|_| format!("`{name}` is not a time"))
}

impl SystemRow for ExportRow {
    const TABLE: SystemTable = SystemTable::Exports;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let state = match fields.text("state")? {
            "requested" => ExportState::Requested,
            "in_progress" => ExportState::InProgress { message: fields.text("progress_message")?.to_owned() },
            "completed" => ExportState::Completed {
                start: Timestamp::new(nanoseconds(&fields, "start_ts")?).ok_or("`start_ts` is no moment")?,
                complete_ns: nanoseconds(&fields, "complete_ts")?,
                expires_ns: nanoseconds(&fields, "expiration_ts")?,
                size_bytes: fields.exact_u64("size")?,
            },
            "failed" => ExportState::Failed { message: fields.text("error_message")?.to_owned() },
            "canceled" => ExportState::Canceled,
            _ => return Err("`state` is not known".to_owned()),
        };
        Ok(ExportRow {
            state,
            include_storage: fields.boolean("include_storage")?,
            component: fields.text("component")?.to_owned(),
            claim: claim_in(&fields)?,
            attempts: fields.u32("attempts")?,
            object: optional_id(&fields, "zip_object_key")?,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "include_storage" => self.include_storage,
            "component" => self.component.as_str(),
            "attempts" => f64::from(self.attempts),
        };
        put_claim(&mut fields, self.claim);
        if let Some(object) = self.object {
            fields.insert("zip_object_key", String::from(object));
        }
        let name = match &self.state {
            ExportState::Requested => "requested",
            ExportState::InProgress { message } => {
                fields.insert("progress_message", message.as_str());
                "in_progress"
            }
            ExportState::Completed { start, complete_ns, expires_ns, size_bytes } => {
                fields.insert("start_ts", Value::Int64(start.as_nanoseconds() as i64));
                fields.insert("complete_ts", Value::Int64(*complete_ns as i64));
                fields.insert("expiration_ts", Value::Int64(*expires_ns as i64));
                fields.insert("size", *size_bytes as f64);
                "completed"
            }
            ExportState::Failed { message } => {
                fields.insert("error_message", message.as_str());
                "failed"
            }
            ExportState::Canceled => "canceled",
        };
        fields.insert("state", name);
        fields
    }
}

impl ImportState {
    fn to_object(&self) -> Object {
        match self {
            ImportState::Uploading => object! { "state" => "uploading" },
            ImportState::Uploaded => object! { "state" => "uploaded" },
            ImportState::WaitingForConfirmation { message, must_be_confirmed } => object! {
                "state" => "waiting_for_confirmation",
                "message_to_confirm" => message.as_str(),
                "require_manual_confirmation" => *must_be_confirmed,
            },
            ImportState::InProgress { message, done } => object! {
                "state" => "in_progress",
                "progress_message" => message.as_str(),
                "checkpoint_messages" => texts(done.iter().cloned()),
            },
            ImportState::Completed { documents, at_ns } => object! {
                "state" => "completed",
                "num_rows_written" => Value::Int64(*documents as i64),
                "ts" => Value::Int64(*at_ns as i64),
            },
            ImportState::Failed { message } => object! {
                "state" => "failed",
                "error_message" => message.as_str(),
            },
        }
    }

    fn from_object(object: &Object) -> Result<ImportState, String> {
        let fields = Fields(object);
        Ok(match fields.text("state")? {
            "uploading" => ImportState::Uploading,
            "uploaded" => ImportState::Uploaded,
            "waiting_for_confirmation" => ImportState::WaitingForConfirmation {
                message: fields.text("message_to_confirm")?.to_owned(),
                must_be_confirmed: fields.boolean("require_manual_confirmation")?,
            },
            "in_progress" => ImportState::InProgress {
                message: fields.text("progress_message")?.to_owned(),
                done: fields.texts("checkpoint_messages")?,
            },
            "completed" => ImportState::Completed {
                documents: nanoseconds(&fields, "num_rows_written")?,
                at_ns: nanoseconds(&fields, "ts")?,
            },
            "failed" => ImportState::Failed { message: fields.text("error_message")?.to_owned() },
            _ => return Err("`state` is not known".to_owned()),
        })
    }
}

fn references_in(object: &Object) -> Result<BTreeMap<TableName, TableNumber>, String> {
    let Some(references) = object.get("references") else { return Ok(BTreeMap::new()) };
    let references = references.as_object().ok_or("`references` is no object")?;
    let each = references.iter().map(|(name, _)| {
        let table = name.parse().map_err(|error| format!("`references`: {error}"))?;
        Ok((table, Fields(references).table_number(name)?))
    });
    each.collect()
}

impl SystemRow for ImportTableRow {
    const TABLE: SystemTable = SystemTable::ImportTables;

    fn from_fields(object: &Object) -> Result<Self, String> {
        let fields = Fields(object);
        let table = ImportTable {
            component: fields.parse("component")?,
            name: fields.parse("name")?,
            number: object.contains("number").then(|| fields.table_number("number")).transpose()?,
            tablet: object.contains("tablet").then(|| fields.parse("tablet")).transpose()?,
            schema: optional_id(&fields, "schema")?,
            must_be_empty: fields.boolean("must_be_empty")?,
            documents: fields.exact_u64("documents")?,
            references: references_in(object)?,
        };
        Ok(ImportTableRow { import: fields.parse("import")?, place: fields.u32("place")?, table })
    }

    fn to_fields(&self) -> Object {
        let ImportTableRow { import, place, table } = self;
        let mut fields = object! {
            "import" => import.to_string(),
            "place" => f64::from(*place),
            "component" => table.component.to_string(),
            "name" => table.name.as_str(),
            "documents" => table.documents as f64,
            "must_be_empty" => table.must_be_empty,
        };
        if !table.references.is_empty() {
            let number = |number: &TableNumber| Value::from(f64::from(number.get()));
            let references = table.references.iter().map(|(name, of)| (name.to_string(), number(of)));
            fields.insert("references", Value::Object(references.collect()));
        }
        if let Some(schema) = table.schema {
            fields.insert("schema", String::from(schema));
        }
        if let Some(number) = table.number {
            fields.insert("number", f64::from(number.get()));
        }
        if let Some(tablet) = table.tablet {
            fields.insert("tablet", tablet.to_string());
        }
        fields
    }
}

impl SystemRow for ImportRow {
    const TABLE: SystemTable = SystemTable::SnapshotImports;

    fn from_fields(object: &Object) -> Result<Self, String> {
        let fields = Fields(object);
        let state = fields.value("state")?.as_object().ok_or("`state` is not an object")?;
        let order = match fields.optional_text("format")? {
            Some(format) => Some(ImportOrder {
                format: ImportFormat::from_name(format).ok_or("`format` is not known")?,
                mode: ImportMode::from_name(fields.text("mode")?).ok_or("`mode` is not known")?,
                component: fields.text("component_path")?.to_owned(),
                table: object.contains("table_name").then(|| fields.parse("table_name")).transpose()?,
            }),
            None => None,
        };
        Ok(ImportRow {
            state: ImportState::from_object(state).map_err(|error| format!("`state`: {error}"))?,
            order,
            claim: claim_in(&fields)?,
            attempts: fields.u32("attempts")?,
            position: fields.exact_u64("position")?,
            is_cleared: fields.boolean("is_cleared")?,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "state" => Value::Object(self.state.to_object()),
            "attempts" => f64::from(self.attempts),
            "position" => self.position as f64,
            "is_cleared" => self.is_cleared,
        };
        put_claim(&mut fields, self.claim);
        if let Some(ImportOrder { format, mode, component, table }) = &self.order {
            fields.insert("format", format.name());
            fields.insert("mode", mode.name());
            fields.insert("component_path", component.as_str());
            if let Some(table) = table {
                fields.insert("table_name", table.as_str());
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rows::tests::comes_back, *};

    fn id() -> DocumentId {
        DocumentId::new(TableNumber::FILE_STORAGE, InternalId::from_bytes([3; 16]))
    }

    #[test]
    fn exports_come_back_in_every_state() {
        let completed = ExportState::Completed {
            start: Timestamp::MAX,
            complete_ns: 7,
            expires_ns: i64::MAX as u64,
            size_bytes: 1 << 50,
        };
        let states = [
            ExportState::Requested,
            ExportState::InProgress { message: "m".into() },
            completed,
            ExportState::Failed { message: "no".into() },
            ExportState::Canceled,
        ];
        for state in states {
            comes_back(ExportRow {
                state,
                include_storage: true,
                component: "a/b".into(),
                claim: Some(Claim { holder: [255; 16], beat: 1 << 40 }),
                attempts: 3,
                object: Some(id()),
            });
        }
    }

    #[test]
    fn imports_come_back_in_every_state() {
        let states = [
            ImportState::Uploading,
            ImportState::Uploaded,
            ImportState::WaitingForConfirmation { message: "m".into(), must_be_confirmed: true },
            ImportState::InProgress { message: "m".into(), done: vec!["a".into(), "b".into()] },
            ImportState::Completed { documents: 1 << 60, at_ns: 7 },
            ImportState::Failed { message: "no".into() },
        ];
        for state in states {
            let row = ImportRow {
                state,
                order: Some(ImportOrder {
                    format: ImportFormat::JsonArray,
                    mode: ImportMode::ReplaceAll,
                    component: "a/b".into(),
                    table: Some("messages".parse().expect("a name")),
                }),
                claim: Some(Claim { holder: [0; 16], beat: 0 }),
                attempts: u32::MAX,
                position: 1 << 50,
                is_cleared: false,
            };
            comes_back(row.clone());
            let bare = ImportRow { order: None, claim: None, ..row };
            assert_eq!(ImportRow::from_fields(&bare.to_fields()), Ok(bare));
        }
    }
    #[test]
    fn the_tables_of_imports_come_back() {
        let table = ImportTable {
            component: ComponentId::from(InternalId::from_bytes([4; 16])),
            name: "messages".parse().expect("a name"),
            number: Some(TableNumber::FIRST_USER),
            tablet: Some(InternalId::from_bytes([5; 16])),
            schema: Some(id()),
            must_be_empty: true,
            documents: 1 << 50,
            references: BTreeMap::from([("users".parse().expect("a name"), TableNumber::FIRST_USER)]),
        };
        let row = ImportTableRow { import: InternalId::from_bytes([6; 16]), place: u32::MAX, table };
        comes_back(row.clone());
        let references = BTreeMap::new();
        let table = ImportTable { number: None, tablet: None, schema: None, references, ..row.table };
        comes_back(ImportTableRow { table, ..row });
    }
}
