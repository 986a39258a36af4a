//! What is in an upload: tables with their documents, and files.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use transaction::{ImportFormat, ImportOrder};
use value::{CREATION_TIME_FIELD, DocumentId, ID_FIELD, JsonFormat, Object, TableName, TableNumber, Value};
use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::{
    directory,
    rows::{self, Each},
    source::Upload,
};
use crate::{
    ArchiveLimits,
    export::UNIFORM,
    job::{Job, Result, Stop, io_of},
};

const DOCUMENTS: &str = "documents.jsonl";
const SCHEMA: &str = "generated_schema.jsonl";

/// An upload, understood as far as its order says.
pub(crate) struct Contents {
    limits: ArchiveLimits,
    /// In the order in which they are imported.
    pub tables: Vec<ContentTable>,
    pub storages: Vec<Storage>,
    bytes: Bytes,
}

enum Bytes {
    Rows(Upload, ImportFormat),
    Archive(ZipArchive<Upload>),
}

/// A table of an upload.
pub(crate) struct ContentTable {
    /// The path of its component within that for which the import is; empty for this one.
    pub component: String,
    pub name: TableName,
    /// The number that the upload says its documents' ids have.
    pub number: Option<TableNumber>,
    /// Where its documents are, in an archive.
    entry: usize,
    format: JsonFormat,
}

/// The files of a component in an archive.
pub(crate) struct Storage {
    /// As that of a table.
    pub component: String,
    documents: usize,
    /// The bytes of files, by the ids of their documents.
    files: BTreeMap<String, usize>,
}

/// A file of an archive.
pub(crate) struct ContentFile {
    /// Its bytes.
    pub entry: usize,
    pub id: DocumentId,
    pub creation_time: Option<f64>,
    pub uuid: Option<String>,
    pub sha256: Option<[u8; 32]>,
    pub size_bytes: Option<u64>,
    pub content_type: Option<String>,
}

/// What an archive has of one table.
#[derive(Default)]
struct Entries {
    documents: Option<usize>,
    schema: Option<usize>,
}

/// What an archive has of one component.
#[derive(Default)]
struct Folder {
    tables: BTreeMap<TableName, Entries>,
    numbers: Option<usize>,
    storage: Option<usize>,
    files: BTreeMap<String, usize>,
}

impl Contents {
    /// Reads what the upload has, and none of its documents.
    pub(crate) fn open(job: &Job, order: &ImportOrder) -> Result<Contents> {
        let limits = job.shared.limits;
        let upload = Upload::open(job)?;
        if order.format == ImportFormat::Zip {
            return Contents::archive(upload, limits);
        }
        let name =
            order.table.clone().ok_or_else(|| Stop::Refused("The import names no table.".to_owned()))?;
        let table = ContentTable {
            component: String::new(),
            name,
            number: None,
            entry: 0,
            format: JsonFormat::ConvexEncoded,
        };
        let bytes = Bytes::Rows(upload, order.format);
        Ok(Contents { limits, tables: vec![table], storages: Vec::new(), bytes })
    }

    fn archive(mut upload: Upload, limits: ArchiveLimits) -> Result<Contents> {
        if upload.size_bytes() == 0 {
            return Err(Stop::Refused("The archive is empty.".to_owned()));
        }
        let size = upload.size_bytes();
        let directory = directory::check(&mut upload, size, &limits)?;
        let hidden = upload.hide_before(directory.start);
        let mut archive = ZipArchive::new(upload).map_err(not_an_archive)?;
        hidden.set(0);
        let folders = folders_of(&archive)?;
        let (mut tables, mut storages) = (Vec::new(), Vec::new());
        let count = folders.values().map(|folder| folder.tables.len()).sum::<usize>();
        if count > limits.tables_max {
            let message =
                format!("The archive has {count} tables (archive.tables_max is {}).", limits.tables_max);
            return Err(Stop::Refused(message));
        }
        for (component, folder) in folders {
            let numbers = match folder.numbers {
                Some(entry) => numbers_in(&mut archive, entry, &folder.tables, &limits)?,
                None => BTreeMap::new(),
            };
            for (name, entries) in folder.tables {
                let Some(entry) = entries.documents else { continue };
                let format = match entries.schema {
                    Some(schema) => format_of(&mut archive, schema, &name, &limits)?,
                    None => JsonFormat::ConvexEncoded,
                };
                let number = numbers.get(name.as_str()).copied();
                tables.push(ContentTable { component: component.clone(), name, number, entry, format });
            }
            match (folder.storage, folder.files) {
                (Some(documents), files) => storages.push(Storage { component, documents, files }),
                (None, files) if files.is_empty() => {}
                (None, _) => {
                    let message = "The archive has files in `_storage`, but no `_storage/documents.jsonl`.";
                    return Err(Stop::Refused(message.to_owned()));
                }
            }
        }
        if tables.is_empty() && storages.is_empty() {
            let message = "The archive has no table: each one is a folder with a file `documents.jsonl`.";
            return Err(Stop::Refused(message.to_owned()));
        }
        Ok(Contents { limits, tables, storages, bytes: Bytes::Archive(archive) })
    }

    /// Calls `each` with the documents of a table, but for the first ones.
    pub(crate) fn each_document(&mut self, table: usize, skip: u64, each: Each<'_>) -> Result<()> {
        let ContentTable { component, name, entry, format, .. } = &self.tables[table];
        match &mut self.bytes {
            Bytes::Rows(upload, ImportFormat::Csv) => rows::csv(upload.again(), skip, &self.limits, each),
            Bytes::Rows(upload, ImportFormat::JsonArray) => {
                rows::json_array(upload.again(), skip, &self.limits, each)
            }
            Bytes::Rows(upload, _) => rows::json_lines(upload.again(), "", *format, skip, &self.limits, each),
            Bytes::Archive(archive) => {
                let file = match component.is_empty() {
                    true => format!("{name}/{DOCUMENTS}"),
                    false => format!("{component}: {name}/{DOCUMENTS}"),
                };
                let entry = archive.by_index(*entry).map_err(not_an_archive)?;
                rows::json_lines(Unpacked::of(entry), &file, *format, skip, &self.limits, each)
            }
        }
    }

    /// The number in the id of a table's first document, if it has one.
    pub(crate) fn first_number(&mut self, table: usize) -> Result<Option<TableNumber>> {
        let mut first = None;
        let read = self.each_document(table, 0, &mut |document, place| {
            first = Some(transaction::document_id(&document).map_err(|error| place.refuse(error))?);
            // Nothing more is to be read.
            Err(Stop::NotOurs)
        });
        match first {
            Some(id) => Ok(id.map(|id| id.table)),
            None => read.map(|()| None),
        }
    }

    /// The files of a component, in the order in which the archive tells of them.
    pub(crate) fn files(&mut self, storage: usize) -> Result<Vec<ContentFile>> {
        let Storage { documents, files, .. } = &self.storages[storage];
        let Bytes::Archive(archive) = &mut self.bytes else { return Ok(Vec::new()) };
        let (mut found, files_max) = (Vec::new(), self.limits.files_max);
        let entry = Unpacked::of(archive.by_index(*documents).map_err(not_an_archive)?);
        let name = format!("_storage/{DOCUMENTS}");
        rows::json_lines(entry, &name, JsonFormat::ConvexEncoded, 0, &self.limits, &mut |fields, place| {
            if found.len() == files_max {
                return Err(place.refuse(format!("an import brings at most {files_max} files")));
            }
            found.push(content_file(&fields, files).map_err(|what| place.refuse(what))?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The bytes of a file.
    pub(crate) fn file(&mut self, entry: usize) -> Result<impl Read + '_> {
        match &mut self.bytes {
            Bytes::Archive(archive) => Ok(Unpacked::of(archive.by_index(entry).map_err(not_an_archive)?)),
            Bytes::Rows(..) => unreachable!("only archives have files"),
        }
    }
}

/// A file of an archive, which has no more bytes than the archive's list says.
struct Unpacked<'a> {
    file: ZipFile<'a, Upload>,
    left: u64,
}

impl<'a> Unpacked<'a> {
    fn of(file: ZipFile<'a, Upload>) -> Unpacked<'a> {
        Unpacked { left: file.size(), file }
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        let more = || io::Error::new(io::ErrorKind::InvalidData, "it has more bytes than the archive says");
        self.left = left.ok_or_else(more)?;
        Ok(count)
    }
}

pub(crate) fn not_an_archive(error: ZipError) -> Stop {
    not_readable(io_of(error))
}

pub(crate) fn not_readable(error: io::Error) -> Stop {
    Stop::of_io(error, |error| Stop::Refused(format!("The archive is damaged, or is none: {error}")))
}

fn folders_of(archive: &ZipArchive<Upload>) -> Result<BTreeMap<String, Folder>> {
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for index in 0..archive.len() {
        let Some(mut rest) = archive.name_for_index(index) else { continue };
        let mut component = String::new();
        while let Some((child, within)) =
            rest.strip_prefix("_components/").and_then(|rest| rest.split_once('/'))
        {
            component = if component.is_empty() { child.to_owned() } else { format!("{component}/{child}") };
            rest = within;
        }
        // What lies elsewhere is no data.
        let Some((table, file)) = rest.split_once('/') else { continue };
        if file.is_empty() || file.contains('/') || table.starts_with("__") || table.starts_with('.') {
            continue;
        }
        let folder = folders.entry(component).or_default();
        match (table, file) {
            ("_tables", DOCUMENTS) => folder.numbers = Some(index),
            ("_storage", DOCUMENTS) => folder.storage = Some(index),
            ("_tables" | "_storage", SCHEMA) => {}
            ("_storage", file) => {
                let id = file.split('.').next().unwrap_or_default();
                folder.files.insert(id.to_owned(), index);
            }
            (table, DOCUMENTS | SCHEMA) => {
                let shown: String = table.chars().take(64).collect();
                let table = table.parse::<TableName>().map_err(|error| {
                    Stop::Refused(format!("The folder {shown:?} can't be a table: {error}"))
                })?;
                if table.is_system() {
                    return Err(Stop::Refused(format!(
                        "The table `{table}` is the system's: it can't be imported."
                    )));
                }
                let entries = folder.tables.entry(table).or_default();
                let place = if file == DOCUMENTS { &mut entries.documents } else { &mut entries.schema };
                *place = Some(index);
            }
            _ => {}
        }
    }
    Ok(folders)
}

/// The numbers of these tables, by name.
fn numbers_in(
    archive: &mut ZipArchive<Upload>,
    entry: usize,
    tables: &BTreeMap<TableName, Entries>,
    limits: &ArchiveLimits,
) -> Result<BTreeMap<String, TableNumber>> {
    let mut numbers = BTreeMap::new();
    let entry = Unpacked::of(archive.by_index(entry).map_err(not_an_archive)?);
    let name = format!("_tables/{DOCUMENTS}");
    rows::json_lines(entry, &name, JsonFormat::ConvexEncoded, 0, limits, &mut |fields, place| {
        let name = fields.get("name").and_then(Value::as_str);
        let number = fields.get("id").and_then(Value::as_f64);
        let number =
            number.filter(|number| number.fract() == 0.0).and_then(|number| TableNumber::new(number as u32));
        match (name, number) {
            (Some(name), Some(number)) => {
                if tables.contains_key(name) {
                    numbers.insert(name.to_owned(), number);
                }
                Ok(())
            }
            _ => Err(place.refuse("this is not the name and the number of a table")),
        }
    })?;
    Ok(numbers)
}

/// How the lines of a table are to be read. Archives of today say so in one word. Those of older systems describe a shape, without which
/// some values can't be told from others.
fn format_of(
    archive: &mut ZipArchive<Upload>,
    entry: usize,
    table: &TableName,
    limits: &ArchiveLimits,
) -> Result<JsonFormat> {
    let mut text = Vec::new();
    let entry = Unpacked::of(archive.by_index(entry).map_err(not_an_archive)?);
    entry.take(limits.line_bytes_max as u64).read_to_end(&mut text).map_err(not_readable)?;
    let text = String::from_utf8_lossy(&text);
    let Some(line) = text.lines().find(|line| !line.trim().is_empty()) else {
        return Ok(JsonFormat::ConvexEncoded);
    };
    let shape: String = serde_json::from_str(line)
        .map_err(|error| Stop::Refused(format!("{table}/{SCHEMA}: this is not a text in JSON: {error}")))?;
    if shape == UNIFORM {
        return Ok(JsonFormat::Export);
    }
    match ambiguous_word(&shape) {
        Some(word) => Err(Stop::Refused(format!(
            "{table}/{SCHEMA}: this archive is of an older kind, in which values of the type {word} look like others. Export the data \
             again, with a newer version."
        ))),
        None => Ok(JsonFormat::ConvexEncoded),
    }
}

/// The first word of a shape, names of fields apart, that stands for values which look like others.
fn ambiguous_word(shape: &str) -> Option<&'static str> {
    let outside = shape.split('"').step_by(2);
    let mut words = outside.flat_map(|text| text.split(|letter: char| !letter.is_ascii_alphanumeric()));
    words.find_map(|word| ["int64", "bytes", "float64"].into_iter().find(|known| *known == word))
}

fn content_file(fields: &Object, files: &BTreeMap<String, usize>) -> Result<ContentFile, String> {
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("`{name}` is not a text")),
    };
    let number = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(Value::Float64(number)) => Ok(Some(*number)),
        Some(_) => Err(format!("`{name}` is not a number")),
    };
    let id = text(ID_FIELD)?.ok_or("the file has no `_id`")?;
    let entry = *files.get(id).ok_or_else(|| format!("the archive has no bytes of the file {id:?}"))?;
    let id: DocumentId = id.parse().map_err(|_| format!("{id:?} is not the id of a file"))?;
    if id.table != TableNumber::FILE_STORAGE {
        return Err(format!("{id} is not the id of a file"));
    }
    let sha256 = text("sha256")?.map(|digest| {
        let digest_of = |bytes: Option<Vec<u8>>| <[u8; 32]>::try_from(bytes?).ok();
        let found = digest_of(BASE64.decode(digest).ok()).or_else(|| digest_of(hex::decode(digest).ok()));
        found.ok_or("`sha256` is not 32 bytes in base 64")
    });
    let uuid = text("internalId")?.map(|uuid| {
        let uuid = uuid::Uuid::try_parse(uuid).map_err(|_| "`internalId` is not a UUID")?;
        Ok::<_, &str>(uuid.hyphenated().to_string())
    });
    let content_type = text("contentType")?.map(str::to_owned);
    if content_type
        .as_ref()
        .is_some_and(|text| text.len() > 1_024 || text.bytes().any(|byte| !matches!(byte, b' '..=b'~')))
    {
        return Err("`contentType` is not printable ASCII of at most 1024 bytes".to_owned());
    }
    let creation_time = number(CREATION_TIME_FIELD)?;
    if creation_time.is_some_and(|ms| !(ms > 0.0 && ms < (1_u64 << 53) as f64)) {
        return Err("`_creationTime` is no number of milliseconds".to_owned());
    }
    let size_bytes = number("size")?.map(|size| size as u64);
    Ok(ContentFile {
        entry,
        id,
        creation_time,
        uuid: uuid.transpose()?,
        sha256: sha256.transpose()?,
        size_bytes,
        content_type,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_older_archives_are_taken_where_they_leave_nothing_open() {
        let plain = r#"{"_id": "k57", "n": normalfloat64, "bytes": string, "a": array<field_name | null>}"#;
        assert_eq!(ambiguous_word(plain), None);
        assert_eq!(ambiguous_word(r#"{"n": int64}"#), Some("int64"));
        assert_eq!(ambiguous_word(r#"{"n": array<bytes>}"#), Some("bytes"));
        assert_eq!(ambiguous_word(r#"{"n": float64 | string}"#), Some("float64"));
    }

    #[test]
    fn a_file_that_can_not_be_is_refused() {
        let id =
            DocumentId::new(TableNumber::FILE_STORAGE, value::InternalId::from_bytes([1; 16])).to_string();
        let files = BTreeMap::from([(id.clone(), 3), ("x".to_owned(), 4)]);
        let read = |json: String| content_file(&Object::from_json(&json).expect("an object"), &files);
        let whole = format!(
            r#"{{"_id":"{id}","_creationTime":1.5,"sha256":"{}","size":7,"contentType":"a/b","internalId":"0B1A2C3D-4e5f-4a6b-8c7d-9e0f1a2b3c4d"}}"#,
            BASE64.encode([7; 32])
        );
        let file = read(whole).expect("a file");
        assert_eq!((file.entry, file.sha256, file.size_bytes), (3, Some([7; 32]), Some(7)));
        assert_eq!(file.uuid.as_deref(), Some("0b1a2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"));
        let bare = read(format!(r#"{{"_id":"{id}"}}"#)).expect("a file");
        assert_eq!((bare.creation_time, bare.uuid, bare.sha256, bare.content_type), (None, None, None, None));
        for bad in [
            "{}".to_owned(),
            r#"{"_id":"x"}"#.to_owned(),
            r#"{"_id":"y"}"#.to_owned(),
            format!(r#"{{"_id":"{id}","sha256":"AAAA"}}"#),
            format!(r#"{{"_id":"{id}","size":"7"}}"#),
            format!(r#"{{"_id":"{id}","internalId":"../a"}}"#),
            format!(r#"{{"_id":"{id}","contentType":"a\nb"}}"#),
            format!(r#"{{"_id":"{id}","_creationTime":-1}}"#),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
