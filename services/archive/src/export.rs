//! An export: the documents of one moment as a ZIP archive, written from beginning to end without ever going back.
//!
//! ```text
//!   README.md
//!   _tables/documents.jsonl          {"id":10001,"name":"messages"}
//!   messages/documents.jsonl         a document in each line, as `export_json`
//!   messages/generated_schema.jsonl  "uniform": the lines say themselves of which type each value is
//!   _storage/documents.jsonl         what `_storage` shows of each file, and by which UUID its URL names it
//!   _storage/<id>.<extension>        its bytes, if they are asked for
//!   _components/<name>/…             the same of each component
//! ```
//!
//! Equal data makes equal bytes: tables come by name and documents by id, and no time but those of documents is in it.

use std::{
    cell::Cell,
    io::{self, Write as _},
    rc::Rc,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use contract::{
    Error, Interval, ObjectSummary, ObjectWriter, Order, Read, ReadAt, ReadResult, Row, Timestamp, document,
};
use futures::StreamExt as _;
use system_transaction::{Result as Transacted, Work};
use transaction::{
    ExportRow, ExportState, FileObjectRow, FileState, SystemRow as _, SystemTable, Table, Transaction,
    object_name,
};
use value::{ComponentId, DocumentId, ID_FIELD, JsonFormat, Object, Value, key};
use zip::{
    CompressionMethod, DateTime, ZipWriter, result::ZipError, write::SimpleFileOptions, write::StreamWriter,
};

use crate::{
    components::{components_from, path_within},
    job::{Job, Result, Stop, io_of},
};

/// Bytes that go to the store at once.
const PIECE_BYTES: usize = 256 << 10;
/// What is read at once; the log has a limit of its own.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_ROWS: usize = 1_024;
/// The least effort: what is read must be written before it is too old to be read, and text becomes small all the same.
const COMPRESSION_LEVEL: i64 = 1;

/// What tells an importer that the lines need no description of their types.
pub(crate) const UNIFORM: &str = "uniform";
const README: &str = "\
# An export

Each folder is a table, and each line of its `documents.jsonl` a document. `_storage` has files, `_components` the data of components.

    npx convex import --replace-all <this archive>

brings all of it back: ids, creation times and the addresses of files stay what they are. Scheduled functions, environment variables
and code are not part of it.
";

pub(crate) fn run(job: &Job, _: ExportRow) -> Result<()> {
    let (shared, deployment) = (&job.shared, job.deployment);
    let begun = job.wait(shared.transactions.transact(deployment, &Begin(job)))??;
    let (row, object) = begun.ok_or(Stop::NotOurs)?;
    let mut transaction = job.wait(shared.transactions.snapshot(deployment))??;
    let start = transaction.begin_at().timestamp;
    let held = shared.transactions.hold(deployment.group, start);
    let written = write(job, &row, object, &mut transaction);
    job.runtime.block_on(held.end());
    let complete = Complete { job, start, size_bytes: written?.size_bytes };
    job.wait(shared.transactions.transact(deployment, &complete))??;
    Ok(())
}

/// Writes the archive into its object.
fn write(
    job: &Job,
    row: &ExportRow,
    object: DocumentId,
    transaction: &mut Transaction,
) -> Result<ObjectSummary> {
    let (shared, deployment) = (&job.shared, job.deployment);
    let at = transaction.begin_at();
    let writer = job.wait(shared.objects.create(object_name(deployment, ComponentId::ROOT, object)))??;
    let stop = Rc::new(Cell::new(None));
    let piece = BytesMut::with_capacity(2 * PIECE_BYTES);
    let sink = Sink { job, writer, piece, is_broken: false, stop: stop.clone() };
    let mut archive = Archive { job, at, zip: ZipWriter::new_stream(sink), entries: 0, stop };
    archive.start("README.md")?;
    archive.write(README.as_bytes())?;
    let components = components_from(transaction, &row.component)?;
    let (root, _) = components.first().cloned().expect("the component that was asked for comes first");
    for (path, component) in components {
        let within = path_within(&root, &path);
        let folder: String = within
            .split('/')
            .filter(|name| !name.is_empty())
            .map(|name| format!("_components/{name}/"))
            .collect();
        archive.component(transaction, &folder, component, row.include_storage)?;
    }
    archive.zip.finish().map_err(failed)?.into_inner().finish()
}

struct Archive<'j> {
    job: &'j Job,
    at: ReadAt,
    zip: ZipWriter<StreamWriter<Sink<'j>>>,
    /// How many it has, whose list is held in memory until the end.
    entries: usize,
    /// Why the sink has taken nothing since.
    stop: Rc<Cell<Option<Stop>>>,
}

impl Archive<'_> {
    fn start(&mut self, name: &str) -> Result<()> {
        let entries_max = self.job.shared.limits.entries_max;
        if self.entries >= entries_max {
            return Err(Stop::Refused(format!(
                "There are more files and tables than an archive may have (archive.entries_max is {entries_max}). Export without files, or \
                 components one by one. Nothing was exported."
            )));
        }
        self.entries += 1;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(COMPRESSION_LEVEL))
            .last_modified_time(DateTime::default())
            // How many bytes will come is not known.
            .large_file(true);
        self.zip.start_file(name, options).map_err(failed)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.zip.write_all(bytes).map_err(failed_io)?;
        match self.stop.take() {
            Some(stop) => Err(stop),
            None => Ok(()),
        }
    }

    fn line(&mut self, json: String) -> Result<()> {
        self.write(json.as_bytes())?;
        self.write(b"\n")
    }

    fn component(
        &mut self,
        transaction: &Transaction,
        folder: &str,
        component: ComponentId,
        include_storage: bool,
    ) -> Result<()> {
        let catalog = transaction.deployment_catalog().of(component).clone();
        let mut tables: Vec<_> = catalog.tables().cloned().collect();
        tables.sort_by(|one, other| one.name.cmp(&other.name));
        self.start(&format!("{folder}_tables/documents.jsonl"))?;
        for table in &tables {
            let line = serde_json::json!({ "name": table.name.as_str(), "id": table.number.get() });
            self.line(line.to_string())?;
        }
        for table in &tables {
            self.start(&format!("{folder}{}/documents.jsonl", table.name))?;
            self.table(table)?;
            self.start(&format!("{folder}{}/generated_schema.jsonl", table.name))?;
            self.line(format!("\"{UNIFORM}\""))?;
        }
        if include_storage {
            self.storage(folder, component)?;
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let mut from = None;
        loop {
            let (rows, next) = self.page(table, from)?;
            for row in &rows {
                self.line(Value::Object(fields_of(row)?).to_json_in(JsonFormat::Export))?;
            }
            self.job.advance(rows.len() as u64);
            let Some(next) = next else { return Ok(()) };
            from = Some(next);
        }
    }

    /// Documents of a table by id, and where the next ones begin.
    fn page(&self, table: &Table, from: Option<Bytes>) -> Result<(Vec<Row>, Option<Bytes>)> {
        let mut interval = Interval::all();
        interval.start = from.unwrap_or(interval.start);
        let read = Read::Range {
            index: table.by_id.id,
            interval,
            order: Order::Ascending,
            rows_max: PAGE_ROWS,
            bytes_max: PAGE_BYTES,
        };
        let Some(ReadResult::Range { rows, more }) = self.read(&[read])?.pop() else {
            return Err(not_a_range());
        };
        let last = rows.last().filter(|_| more);
        let next = last.map(|row| Interval::point(&row.key).end.expect("a point has an end"));
        Ok((rows, next))
    }

    fn read(&self, reads: &[Read]) -> Result<Vec<ReadResult>> {
        let Job { shared, deployment, .. } = self.job;
        let results = self.job.wait(shared.transactions.log.read(*deployment, self.at, reads))?;
        results.map_err(|error| match error.kind {
            contract::ErrorKind::OutOfRetention => Stop::Refused(
                "The export took longer than its moment is kept (limits.log.held_ms_max). Nothing was exported."
                    .to_owned(),
            ),
            _ => Stop::Failed(error),
        })
    }

    fn storage(&mut self, folder: &str, component: ComponentId) -> Result<()> {
        self.start(&format!("{folder}_storage/documents.jsonl"))?;
        self.each_file(component, &mut |archive, file| {
            let mut fields = file.fields;
            fields.remove("component");
            fields.insert("internalId", file.uuid);
            archive.job.advance(1);
            archive.line(Value::Object(fields).to_json_in(JsonFormat::Export))
        })?;
        let folder = folder.to_owned();
        self.each_file(component, &mut |archive, file| {
            let content_type = file.fields.get("contentType").and_then(Value::as_str);
            let extension = content_type.and_then(extension_of).map(|extension| format!(".{extension}"));
            archive.start(&format!("{folder}_storage/{}{}", file.id, extension.unwrap_or_default()))?;
            archive.bytes_of(&file, component)
        })
    }

    fn bytes_of(&mut self, file: &StoredFile, component: ComponentId) -> Result<()> {
        let name = object_name(self.job.deployment, component, file.object);
        let read = self.job.wait(self.job.shared.objects.read(name, 0..file.size_bytes))??;
        let gone =
            || Stop::Failed(Error::internal(format!("the bytes of the file {} are not there", file.id)));
        let mut bytes = read.ok_or_else(gone)?;
        while let Some(piece) = self.job.wait(bytes.next())? {
            self.write(&piece?)?;
        }
        Ok(())
    }

    /// The files of a component, by id.
    fn each_file(
        &mut self,
        component: ComponentId,
        each: &mut dyn FnMut(&mut Self, StoredFile) -> Result<()>,
    ) -> Result<()> {
        let mut from = None;
        loop {
            let (rows, next) = self.page(SystemTable::FileStorage.table(), from)?;
            let mut files = Vec::with_capacity(rows.len());
            for row in &rows {
                let fields = fields_of(row)?;
                let file = transaction::FileRow::from_fields(&fields).map_err(stored)?;
                if file.component == component {
                    let id = fields.get(ID_FIELD).and_then(Value::as_str).and_then(|id| id.parse().ok());
                    let id: DocumentId = id.ok_or_else(|| stored("a file has no id"))?;
                    files.push((id, fields, file.size_bytes));
                }
            }
            for (id, fields, size_bytes) in files {
                let (object, uuid) = self.object_of(id)?;
                each(self, StoredFile { id, fields, size_bytes, object, uuid })?;
            }
            let Some(next) = next else { return Ok(()) };
            from = Some(next);
        }
    }

    /// The object that has a file's bytes, and the UUID in the file's URL.
    fn object_of(&self, file: DocumentId) -> Result<(DocumentId, String)> {
        let start = key::encode(&[Some(&Value::from(file.internal_id.to_string()))]);
        let interval = Interval { end: Some(key::prefix_end(&start).into()), start: start.into() };
        let table = SystemTable::FileObjects.table();
        let index = table.index("by_file").expect("it is defined").id;
        let read = Read::Range {
            index,
            interval,
            order: Order::Ascending,
            rows_max: PAGE_ROWS,
            bytes_max: PAGE_BYTES,
        };
        let Some(ReadResult::Range { rows, .. }) = self.read(&[read])?.pop() else {
            return Err(not_a_range());
        };
        for row in &rows {
            let fields = fields_of(row)?;
            let object = FileObjectRow::from_fields(&fields).map_err(stored)?;
            let id = fields.get(ID_FIELD).and_then(Value::as_str).and_then(|id| id.parse().ok());
            if let (FileState::Kept { .. }, Some(id)) = (object.state, id) {
                return Ok((id, object.uuid));
            }
        }
        Err(stored(format!("the file {file} has no object")))
    }
}

struct StoredFile {
    id: DocumentId,
    /// What its document says, and whose it is.
    fields: Object,
    size_bytes: u64,
    object: DocumentId,
    uuid: String,
}

fn fields_of(row: &Row) -> Result<Object> {
    let (json, _) = document::decode(&row.version.document)?;
    Object::from_json(json).map_err(stored)
}

fn stored(what: impl std::fmt::Display) -> Stop {
    Stop::Failed(Error::internal(format!("stored data can't be exported: {what}")))
}

fn not_a_range() -> Stop {
    Stop::Failed(Error::internal("a range read did not answer with a range"))
}

fn failed(error: ZipError) -> Stop {
    failed_io(io_of(error))
}

fn failed_io(error: io::Error) -> Stop {
    Stop::of_io(error, |error| Stop::Failed(Error::internal(format!("an archive can't be written: {error}"))))
}

/// By which programs know a file of a media type.
fn extension_of(content_type: &str) -> Option<&'static str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some(match &*essence {
        "application/gzip" => "gz",
        "application/json" => "json",
        "application/pdf" => "pdf",
        "application/xml" | "text/xml" => "xml",
        "application/zip" => "zip",
        "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "audio/wav" => "wav",
        "audio/webm" | "video/webm" => "webm",
        "image/avif" => "avif",
        "image/bmp" => "bmp",
        "image/gif" => "gif",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/svg+xml" => "svg",
        "image/webp" => "webp",
        "text/css" => "css",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/javascript" => "js",
        "text/markdown" => "md",
        "text/plain" => "txt",
        "video/mp4" => "mp4",
        _ => return None,
    })
}

/// Where the bytes of an archive go. It never fails, since an archive that is given up is written to its end all the same: what comes
/// after an error goes nowhere.
struct Sink<'j> {
    job: &'j Job,
    writer: Box<dyn ObjectWriter>,
    piece: BytesMut,
    is_broken: bool,
    stop: Rc<Cell<Option<Stop>>>,
}

impl Sink<'_> {
    fn pass_on(&mut self) -> Result<()> {
        let piece = self.piece.split().freeze();
        Ok(self.job.wait(self.writer.write(piece))??)
    }

    fn finish(mut self) -> Result<ObjectSummary> {
        if let Some(stop) = self.stop.take() {
            return Err(stop);
        }
        self.pass_on()?;
        Ok(self.job.wait(self.writer.finish())??)
    }
}

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_broken {
            self.piece.extend_from_slice(bytes);
        }
        if self.piece.len() >= PIECE_BYTES
            && let Err(stop) = self.pass_on()
        {
            self.is_broken = true;
            self.stop.set(Some(stop));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Begin<'j>(&'j Job);

#[async_trait]
impl Work for Begin<'_> {
    type Output = Option<(ExportRow, DocumentId)>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Self::Output> {
        let Some(mut row) = transaction.row::<ExportRow>(self.0.id).await? else { return Ok(None) };
        if !row.state.is_under_way() || !self.0.is_mine(row.claim) {
            return Ok(None);
        }
        // What an earlier attempt has left.
        if let Some(object) = row.object {
            transaction.set_object_state(object, FileState::Discarded).await?;
        }
        let state = FileState::Part { of: self.0.id.internal_id, number: 1 };
        let object = transaction.note_object_as(ComponentId::ROOT, state).await?;
        row.object = Some(object);
        row.state = ExportState::InProgress { message: "Exporting".to_owned() };
        transaction.replace_row(self.0.id, &row).await?;
        Ok(Some((row, object)))
    }
}

struct Complete<'j> {
    job: &'j Job,
    start: Timestamp,
    size_bytes: u64,
}

#[async_trait]
impl Work for Complete<'_> {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let Complete { job, start, size_bytes } = *self;
        let Some(mut row) = transaction.row::<ExportRow>(job.id).await? else { return Ok(()) };
        if row.state.is_under_way() && job.is_mine(row.claim) {
            let complete_ns = transaction.now_ms().saturating_mul(1_000_000);
            let kept_ns = job.shared.limits.export_kept_ms.saturating_mul(1_000_000);
            let expires_ns = complete_ns.saturating_add(kept_ns).min(i64::MAX as u64);
            row.state = ExportState::Completed { start, complete_ns, expires_ns, size_bytes };
            row.claim = None;
            transaction.replace_row(job.id, &row).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_what_it_is_said_to_be() {
        assert_eq!(extension_of("image/png"), Some("png"));
        assert_eq!(extension_of("Text/HTML; charset=utf-8"), Some("html"));
        for unknown in ["", "application/octet-stream", "../../etc", "image/../x"] {
            assert_eq!(extension_of(unknown), None, "{unknown}");
        }
    }
}
