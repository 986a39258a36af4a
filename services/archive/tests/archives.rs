//! Exports and imports on a real log and a real folder.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, Write as _},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use archive::{ArchiveLimits, Handle};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Archives as _, Deployment, DeploymentId, DeploymentRef, Deployments, ErrorKind, Files as _, GroupId,
    NewExport, NewFile, NewImport, ObjectBytes, ObjectName, ObjectStore, ObjectSummary, ObjectWriter,
    Search as _, Sequencer, TransactionLog, Uploader,
};
use futures::TryStreamExt as _;
use system_transaction::{SystemTransactions, Work};
use tokio_util::sync::CancellationToken;
use transaction::{
    Claim, ComponentRow, ExportRow, ExportState, FileObjectRow, ImportRow, ImportState, ImportTableRow,
    IndexKind, IndexRow, IndexState, SchemaRow, SchemaState, Stored, TableRow, Transaction,
};
use value::{ComponentId, DocumentId, JsonFormat, Object, Value, object};
use zip::{ZipArchive, ZipWriter, write::SimpleFileOptions};

const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

const NEIGHBOUR: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };

/// So small that even little data needs several of everything.
const LIMITS: ArchiveLimits = ArchiveLimits {
    batch_documents_max: 3,
    look_ms: 20,
    beat_ms: 50,
    lease_ms: 400,
    removed_max: 2,
    ids_held_max: 2,
    ..ArchiveLimits::DEFAULT
};

/// A log and a folder that outlive the service.
struct Ground {
    transactions: SystemTransactions,
    objects: Arc<dyn ObjectStore>,
    log: txlog::Service,
    search: search::Service,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

fn deployments() -> tokio::sync::watch::Receiver<Arc<Deployments>> {
    Deployment::fixed([("d1", DEPLOYMENT), ("d2", NEIGHBOUR)].map(|(name, reference)| Deployment {
        reference,
        name: name.to_owned(),
        cloud_url: String::new(),
        site_url: String::new(),
    }))
}

/// The service on it.
struct Harness {
    ground: Ground,
    archives: Handle,
    service: archive::Service,
    stop: CancellationToken,
}

impl Ground {
    async fn new() -> Ground {
        Ground::searched(deployments()).await
    }

    /// With a search service that follows these deployments.
    async fn searched(searched: tokio::sync::watch::Receiver<Arc<Deployments>>) -> Ground {
        Ground::with(searched, txlog::LogLimits::DEFAULT).await
    }

    async fn with(
        searched: tokio::sync::watch::Receiver<Arc<Deployments>>,
        limits: txlog::LogLimits,
    ) -> Ground {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = CancellationToken::new();
        let mut options = txlog::Options::embedded(folder.path().join("log"));
        options.limits = limits;
        options.deployments.push(txlog::Deployment { name: "d2".to_owned(), at: NEIGHBOUR });
        let log = txlog::Service::start(options, shutdown.child_token()).await.expect("the log starts");
        let handle: Arc<dyn TransactionLog> = Arc::new(log.handle());
        let dependencies = sequencer::Dependencies { log: handle.clone() };
        let sequencer: Arc<dyn Sequencer> =
            Arc::new(sequencer::Service::start(dependencies, CancellationToken::new()).handle());
        let limits = transaction::Limits::DEFAULT;
        let transactions = SystemTransactions::new(handle, sequencer, 1 << 20, &[7; 32], limits);
        let options = blob::Options { folder: folder.path().join("blobs"), is_shared: false };
        let blobs = blob::Service::start(options, CancellationToken::new()).await.expect("the blobs open");
        let options = search::Options {
            limits: search::SearchLimits::DEFAULT,
            deployments: searched,
            folder: folder.path().join("search"),
        };
        let dependencies = search::Dependencies { transactions: transactions.clone() };
        let search = search::Service::start(options, dependencies, shutdown.child_token());
        Ground { transactions, objects: Arc::new(blobs.handle()), log, search, shutdown, _folder: folder }
    }

    fn serve(self, limits: ArchiveLimits) -> Harness {
        let stop = CancellationToken::new();
        let options = archive::Options { limits, worked_on: deployments() };
        let dependencies = archive::Dependencies {
            transactions: self.transactions.clone(),
            objects: self.objects.clone(),
            search: Arc::new(self.search.handle()),
        };
        let service = archive::Service::start(options, dependencies, stop.clone());
        Harness { archives: service.handle(), ground: self, service, stop }
    }

    async fn snapshot(&self) -> Transaction {
        self.transactions.snapshot(DEPLOYMENT).await.expect("a snapshot")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.search.stopped().await;
        drop(self.transactions);
        self.log.stopped().await;
    }
}

/// Anything that is done in one transaction.
struct Do<F>(F);

#[async_trait]
impl<F> Work for Do<F>
where
    F: for<'t> Fn(&'t mut Transaction) -> futures::future::BoxFuture<'t, system_transaction::Result<()>>
        + Sync,
{
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> system_transaction::Result<()> {
        (self.0)(transaction).await
    }
}

fn work<F>(run: F) -> Do<F>
where
    F: for<'t> Fn(&'t mut Transaction) -> futures::future::BoxFuture<'t, system_transaction::Result<()>>
        + Sync,
{
    Do(run)
}

macro_rules! transact {
    ($ground:expr, |$transaction:ident| $work:block) => {
        $ground
            .transactions
            .transact(
                DEPLOYMENT,
                &work(|$transaction| Box::pin(async move { $work Ok(()) })),
            )
            .await
            .expect("it commits")
    };
}

impl Harness {
    async fn start() -> Harness {
        Ground::new().await.serve(LIMITS)
    }

    /// As a crash would: nothing is waited for.
    async fn restart(self, limits: ArchiveLimits) -> Harness {
        self.stop.cancel();
        self.service.stopped().await;
        self.ground.serve(limits)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.service.stopped().await;
        drop(self.archives);
        self.ground.stop().await;
    }

    /// Uploads in pieces, as the command line tool does.
    async fn upload(&self, bytes: &[u8], import: NewImport) -> contract::Result<String> {
        let upload = self.archives.start_upload(DEPLOYMENT).await?;
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(bytes.chunks(700)) {
            let mut writer = self.archives.begin_part(DEPLOYMENT, &upload, number).await?;
            writer.write(Bytes::copy_from_slice(part)).await?;
            parts.push(writer.finish().await?);
        }
        self.archives.finish_upload(DEPLOYMENT, &upload, parts, import).await
    }

    async fn import_state(&self, import: &str) -> ImportState {
        let mut transaction = self.ground.snapshot().await;
        let id: DocumentId = import.parse().expect("an id");
        transaction.row::<ImportRow>(id).await.expect("it is read").expect("it is there").state
    }

    async fn until(&self, import: &str, is_it: impl Fn(&ImportState) -> bool) -> ImportState {
        let mut state = self.import_state(import).await;
        for _ in 0..4_000 {
            if is_it(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            state = self.import_state(import).await;
        }
        panic!("the import stays at {state:?}");
    }

    /// What an import says that it will do.
    async fn proposed(&self, bytes: &[u8], import: NewImport) -> Result<(String, String), String> {
        let id = self.upload(bytes, import).await.expect("it is uploaded");
        match self.until(&id, |state| *state != ImportState::Uploaded).await {
            ImportState::WaitingForConfirmation { message, .. } => Ok((id, message)),
            ImportState::Failed { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    /// How many documents it brings.
    async fn import(&self, bytes: &[u8], import: NewImport) -> Result<u64, String> {
        let (id, _) = self.proposed(bytes, import).await?;
        self.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
        self.over(&id).await
    }

    async fn over(&self, id: &str) -> Result<u64, String> {
        match self.until(id, ImportState::is_over).await {
            ImportState::Completed { documents, .. } => Ok(documents),
            ImportState::Failed { message } => Err(message),
            other => panic!("{other:?}"),
        }
    }

    async fn exported(&self) -> Vec<u8> {
        let export = NewExport { include_storage: true, component: String::new() };
        self.archives.request_export(DEPLOYMENT, export).await.expect("it is requested");
        self.finished_export().await
    }

    async fn finished_export(&self) -> Vec<u8> {
        for _ in 0..4_000 {
            let mut transaction = self.ground.snapshot().await;
            let rows = transaction.rows::<ExportRow>("by_creation_time", &[]).await.expect("they are read");
            let latest = rows.last().expect("one was requested");
            match &latest.row.state {
                ExportState::Completed { start, size_bytes, .. } => {
                    let name = start.as_nanoseconds().to_string();
                    let found = self.archives.find_export(DEPLOYMENT, &name).await.expect("it is looked for");
                    let found = found.expect("it is there");
                    let bytes = self.archives.read_export(&found).await.expect("it is read");
                    let bytes = bytes.try_collect::<Vec<Bytes>>().await.expect("it is read").concat();
                    assert_eq!(bytes.len() as u64, *size_bytes);
                    return bytes;
                }
                state if state.is_under_way() => tokio::time::sleep(Duration::from_millis(10)).await,
                state => panic!("{state:?}"),
            }
        }
        panic!("the export comes to no end");
    }

    /// The documents of a table by id, as `export_json`; `None` if there is no such table.
    async fn documents(&self, table: &str) -> Option<Vec<String>> {
        let exported = entries(&self.exported().await);
        let text = exported.get(&format!("{table}/documents.jsonl"))?;
        Some(String::from_utf8(text.clone()).expect("text").lines().map(str::to_owned).collect())
    }

    async fn table_rows(&self) -> Vec<TableRow> {
        let mut transaction = self.ground.snapshot().await;
        let rows = transaction.rows::<TableRow>("by_component_and_name", &[]).await.expect("they are read");
        rows.into_iter().map(|row| row.row).collect()
    }

    /// Until nothing is left of imports but what they have brought.
    async fn becomes_tidy(&self) {
        for _ in 0..4_000 {
            let mut transaction = self.ground.snapshot().await;
            let imports =
                transaction.rows::<ImportRow>("by_creation_time", &[]).await.expect("they are read");
            let tables = self.table_rows().await;
            let tidy = imports.iter().all(|import| import.row.is_cleared || !import.row.state.is_over());
            if tidy && tables.iter().all(|table| table.state == transaction::TableState::Active) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something is left");
    }
}

fn rows_for(table: &str, format: &str, mode: &str) -> NewImport {
    let table = Some(table.to_owned());
    NewImport { format: format.to_owned(), mode: mode.to_owned(), table, component: String::new() }
}

fn archive_for(mode: &str) -> NewImport {
    NewImport { format: "zip".to_owned(), mode: mode.to_owned(), table: None, component: String::new() }
}

/// The files of an archive by name.
fn entries(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).expect("an archive");
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).expect("an entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("it is whole");
            (entry.name().to_owned(), bytes)
        })
        .collect()
}

fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("a file");
        zip.write_all(text.as_bytes()).expect("it is written");
    }
    zip.finish().expect("an archive").into_inner()
}

/// Every type of value, and what is special about each.
fn values() -> Vec<Object> {
    let float = |number: f64| object! { "value" => Value::Float64(number) };
    let mut values: Vec<Object> = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        1e300,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        9_007_199_254_740_993.0,
    ]
    .map(float)
    .into();
    values.extend([0, 1, -1, i64::MAX, i64::MIN].map(|integer| object! { "value" => Value::Int64(integer) }));
    values.extend([
        object! { "value" => Value::Null },
        object! { "value" => true },
        object! { "value" => "" },
        object! { "value" => "line\nbreak \u{2028} \u{0} \"quoted\" é 😀" },
        object! { "value" => "$integer" },
        object! { "value" => Value::Bytes(Vec::new()) },
        object! { "value" => Value::Bytes(vec![0, 255, 7]) },
        object! { "value" => vec![Value::Int64(1), Value::Float64(1.0), Value::Array(Vec::new())] },
        object! { "value" => object! { "" => 1.0, "a b" => Value::Int64(7), "nested" => object! {} } },
        object! {},
    ]);
    values
}

/// A deployment with everything that an export has.
async fn fill(harness: &Harness) {
    transact!(harness.ground, |transaction| {
        // So that the numbers of tables are not those that they would get in the order of their names.
        let first = transaction.insert("zebras", Value::Object(object! { "name" => "z" })).await?;
        for value in values() {
            transaction.insert("values", Value::Object(value)).await?;
        }
        transaction.insert("links", Value::Object(object! { "to" => String::from(first) })).await?;
        transaction.create_table("empty".parse().expect("a name")).await?;
    });
    let options = files::Options { limits: files::FileLimits::DEFAULT, swept: Deployment::fixed([]) };
    let dependencies = files::Dependencies {
        transactions: harness.ground.transactions.clone(),
        objects: harness.ground.objects.clone(),
    };
    let files = files::Service::start(options, dependencies, CancellationToken::new()).handle();
    for (content_type, size) in [(Some("image/png"), 3), (None, 0), (Some("x/unknown; a=\"b\""), 700_000)] {
        let by = Uploader::Function { component: String::new() };
        let content_type = content_type.map(str::to_owned);
        let mut upload = files
            .begin(NewFile { deployment: DEPLOYMENT, by, content_type, sha256: None })
            .await
            .expect("begun");
        upload.write(Bytes::from(vec![size as u8; size])).await.expect("it is taken");
        upload.finish().await.expect("it is kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_exported_comes_back_and_is_exported_as_the_same_bytes() {
    let harness = Harness::start().await;
    fill(&harness).await;
    let before = harness.exported().await;
    let files = entries(&before);
    let names: Vec<&str> =
        files.keys().map(String::as_str).filter(|name| !name.starts_with("_storage/kg")).collect();
    assert_eq!(
        names,
        [
            "README.md",
            "_storage/documents.jsonl",
            "_tables/documents.jsonl",
            "empty/documents.jsonl",
            "empty/generated_schema.jsonl",
            "links/documents.jsonl",
            "links/generated_schema.jsonl",
            "values/documents.jsonl",
            "values/generated_schema.jsonl",
            "zebras/documents.jsonl",
            "zebras/generated_schema.jsonl",
        ]
    );
    assert_eq!(files.len(), names.len() + 3);
    assert!(files.keys().any(|name| name.ends_with(".png")), "{:?}", files.keys());

    // Into another deployment's place.
    let other = Harness::start().await;
    assert_eq!(other.import(&before, archive_for("requireEmpty")).await, Ok(1 + 25 + 1 + 3));
    let after = other.exported().await;
    assert_eq!(entries(&after), files);
    assert_eq!(after, before, "equal data makes equal bytes");
    // Over what is there.
    assert_eq!(other.import(&before, archive_for("replaceAll")).await, Ok(1 + 25 + 1 + 3));
    assert_eq!(other.exported().await, before);
    assert_eq!(harness.import(&after, archive_for("replace")).await, Ok(1 + 25 + 1 + 3));
    assert_eq!(harness.exported().await, before);
    // The files are found by their ids, and by the same addresses.
    let mut transaction = other.ground.snapshot().await;
    for line in String::from_utf8_lossy(&files["_storage/documents.jsonl"]).lines() {
        let fields =
            Value::from_json_in(line, JsonFormat::Export).expect("JSON").into_object().expect("an object");
        let text = |name: &str| fields.get(name).and_then(Value::as_str).expect("a text").to_owned();
        let file = transaction.file(&text("_id")).await.expect("it is looked for").expect("it is there");
        assert_eq!(file.uuid, text("internalId"));
    }
    other.becomes_tidy().await;
    // Ids of tables go on behind those that came.
    transact!(other.ground, |transaction| {
        let id = transaction.insert("later", Value::Object(object! {})).await?;
        assert_eq!(id.table.get(), 10_005);
    });
    harness.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_imported_in_every_format_and_mode() {
    let harness = Harness::start().await;
    let lines = (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
    assert_eq!(harness.import(lines.as_bytes(), rows_for("t", "jsonLines", "requireEmpty")).await, Ok(10));
    let there = harness.documents("t").await.expect("the table is there");
    assert_eq!(there.len(), 10);
    assert!(
        there.iter().all(|line| line.contains("\"n\":") && line.contains(".0")),
        "numbers are floats: {there:?}"
    );

    // A table with documents is left alone unless the mode says otherwise.
    let refused =
        harness.import(b"{}", rows_for("t", "jsonLines", "requireEmpty")).await.expect_err("it is refused");
    assert!(refused.contains("TableNotEmpty"), "{refused}");
    assert_eq!(
        harness.import(b"[{\"n\":\"x\"},{\"n\":null}]", rows_for("t", "jsonArray", "append")).await,
        Ok(2)
    );
    assert_eq!(harness.documents("t").await.expect("there").len(), 12);
    assert_eq!(harness.import(b"n,s\n1,a\n2,b\n", rows_for("t", "csv", "replace")).await, Ok(2));
    assert_eq!(harness.documents("t").await.expect("there").len(), 2);
    // An empty file has no parts.
    assert_eq!(harness.import(b"", rows_for("u", "jsonLines", "requireEmpty")).await, Ok(0));
    assert_eq!(harness.documents("u").await, Some(Vec::new()));
    assert_eq!(harness.import(b"{\"a\":1}", rows_for("u", "jsonLines", "replaceAll")).await, Ok(1));
    assert_eq!(harness.documents("t").await, None, "a table that no schema declares goes");
    assert_eq!(harness.documents("u").await.expect("there").len(), 1);
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_with_ids_of_their_own_are_appended() {
    let harness = Harness::start().await;
    let id = |n: u8| {
        let table = value::TableNumber::new(10_009).expect("a number");
        DocumentId::new(table, value::InternalId::from_bytes([n; 16]))
    };
    let lines = |ids: std::ops::Range<u8>| -> Vec<u8> {
        ids.map(|n| format!("{{\"_id\":\"{}\"}}\n", id(n))).collect::<String>().into_bytes()
    };
    assert_eq!(harness.import(&lines(1..10), rows_for("t", "jsonLines", "append")).await, Ok(9));
    assert_eq!(harness.import(&lines(10..20), rows_for("t", "jsonLines", "append")).await, Ok(10));
    let refused = harness.proposed(&lines(19..22), rows_for("t", "jsonLines", "append")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("already has")), "{refused:?}");
    assert_eq!(harness.documents("t").await.map(|documents| documents.len()), Some(19));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_imported_changes_nothing() {
    let harness = Harness::start().await;
    fill(&harness).await;
    let before = harness.exported().await;
    let documents = entries(&before);
    let zebra = String::from_utf8(documents["zebras/documents.jsonl"].clone()).expect("text");
    let link = String::from_utf8(documents["links/documents.jsonl"].clone()).expect("text");
    let mut truncated = before.clone();
    truncated.truncate(before.len() / 2);
    let mut damaged = before.clone();
    let middle = {
        let mut archive = ZipArchive::new(Cursor::new(&before)).expect("an archive");
        let entry = archive.by_name("values/documents.jsonl").expect("it is there");
        (entry.data_start() + entry.compressed_size() / 2) as usize
    };
    damaged[middle] ^= 0xff;
    let stored = archive_of(&[
        ("_storage/documents.jsonl", &String::from_utf8_lossy(&documents["_storage/documents.jsonl"])),
        ("zebras/documents.jsonl", &zebra),
    ]);
    let twice = format!("{zebra}{zebra}");
    let first: DocumentId = field(&zebra, "_id").parse().expect("an id");
    let fresh = |n: u8| DocumentId::new(first.table, value::InternalId::from_bytes([n; 16]));
    let far_apart: String = (1..20).chain([1]).map(|n| format!("{{\"_id\":\"{}\"}}\n", fresh(n))).collect();
    let stored_line = String::from_utf8_lossy(&documents["_storage/documents.jsonl"]).into_owned();
    let there = stored_line.lines().next().expect("a file");
    let new_file = DocumentId::new(value::TableNumber::FILE_STORAGE, value::InternalId::from_bytes([9; 16]));
    // A file for an archive that also has a table, which must not come without it.
    let with_file = |id: &str, more: &str, bytes: &str| {
        archive_of(&[
            ("new/documents.jsonl", "{}\n{}\n{}\n{}\n"),
            ("_storage/documents.jsonl", &format!("{{\"_id\":\"{id}\"{more}}}\n")),
            (&format!("_storage/{id}"), bytes),
        ])
    };
    let mut damaged_file = with_file(&new_file.to_string(), "", &"x".repeat(99));
    let place = {
        let mut archive = ZipArchive::new(Cursor::new(&damaged_file)).expect("an archive");
        archive.by_name(&format!("_storage/{new_file}")).expect("it is there").data_start() as usize
    };
    damaged_file[place + 1] ^= 0xff;
    let uuid = format!(",\"internalId\":\"{}\"", field(there, "internalId"));
    let sha256 = ",\"sha256\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"";
    let mixed = format!("{zebra}{link}");
    let cases: Vec<(&str, Vec<u8>, NewImport)> = vec![
        ("not an archive", b"PK, but no archive".to_vec(), archive_for("replaceAll")),
        ("an empty one", Vec::new(), archive_for("replaceAll")),
        ("half of one", truncated, archive_for("replaceAll")),
        ("no table in it", archive_of(&[("README.md", "x")]), archive_for("replaceAll")),
        ("a system table", archive_of(&[("_cron_jobs/documents.jsonl", "{}")]), archive_for("replaceAll")),
        (
            "no such component",
            archive_of(&[("_components/x/t/documents.jsonl", "{}")]),
            archive_for("replaceAll"),
        ),
        ("files without bytes", stored, archive_for("replaceAll")),
        ("a damaged one", damaged, archive_for("replaceAll")),
        ("no JSON", b"{\"a\":1}\n{\"a\":".to_vec(), rows_for("zebras", "jsonLines", "append")),
        ("no object", b"{\"a\":1}\n7\n".to_vec(), rows_for("zebras", "jsonLines", "append")),
        ("a reserved field", b"{\"_a\":1}\n".to_vec(), rows_for("zebras", "jsonLines", "append")),
        ("no id", b"{}\n{\"_id\":\"x\"}\n".to_vec(), rows_for("zebras", "jsonLines", "append")),
        ("no time", b"{\"_creationTime\":-1}\n".to_vec(), rows_for("zebras", "jsonLines", "append")),
        ("ids of another table", link.clone().into_bytes(), rows_for("zebras", "jsonLines", "append")),
        ("ids that are there", zebra.clone().into_bytes(), rows_for("zebras", "jsonLines", "append")),
        ("ids of two tables", mixed.into_bytes(), rows_for("zebras", "jsonLines", "replace")),
        ("an id twice", twice.into_bytes(), rows_for("zebras", "jsonLines", "replace")),
        ("an id twice, far apart", far_apart.into_bytes(), rows_for("zebras", "jsonLines", "append")),
        ("a file that is there", with_file(&field(there, "_id"), "", "x"), archive_for("append")),
        ("a file's address", with_file(&new_file.to_string(), &uuid, "x"), archive_for("append")),
        ("another sha256", with_file(&new_file.to_string(), sha256, "x"), archive_for("append")),
        ("a damaged file", damaged_file, archive_for("append")),
        ("the number of a table that stays", zebra.into_bytes(), rows_for("new", "jsonLines", "replace")),
        ("no CSV", b"a,b\n1\n".to_vec(), rows_for("zebras", "csv", "append")),
        ("no array", b"{}".to_vec(), rows_for("zebras", "jsonArray", "append")),
        (
            "too many bytes for an array",
            vec![b' '; LIMITS.array_bytes_max + 1],
            rows_for("zebras", "jsonArray", "append"),
        ),
    ];
    for (what, bytes, import) in cases {
        let result = match bytes.len() {
            0..1_000_000 => harness.import(&bytes, import).await,
            _ => import_large(&harness, &bytes, import).await,
        };
        let message = result.expect_err(what);
        assert!(!message.is_empty(), "{what}");
        assert_eq!(harness.exported().await, before, "{what} ({message})");
    }
    harness.becomes_tidy().await;
    harness.stop().await;
}

/// An instance that no code mounts any more.
async fn unmount(harness: &Harness, path: &'static str) {
    transact!(harness.ground, |transaction| {
        let row = ComponentRow {
            path: path.parse().expect("a path"),
            definition: path.to_owned(),
            is_mounted: false,
            variables: Vec::new(),
            http_prefix: None,
        };
        transaction.insert_instance(&row).await?;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_component_keeps_that_is_not_mounted_is_exported_and_comes_back() {
    let harness = Harness::start().await;
    unmount(&harness, "box").await;
    let file = DocumentId::new(value::TableNumber::FILE_STORAGE, value::InternalId::from_bytes([7; 16]));
    let kept = archive_of(&[
        ("items/documents.jsonl", "{\"kept\":true}\n"),
        ("_storage/documents.jsonl", &format!("{{\"_id\":\"{file}\"}}\n")),
        (&format!("_storage/{file}"), "bytes"),
    ]);
    let into = NewImport { component: "box".to_owned(), ..archive_for("requireEmpty") };
    assert_eq!(harness.import(&kept, into).await, Ok(2));
    let before = harness.exported().await;
    let names: Vec<String> = entries(&before).into_keys().collect();
    for name in ["_components/box/items/documents.jsonl", &format!("_components/box/_storage/{file}")] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    let other = Harness::start().await;
    let refused = other.import(&before, archive_for("requireEmpty")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("need not stay mounted")), "{refused:?}");
    unmount(&other, "box").await;
    assert_eq!(other.import(&before, archive_for("requireEmpty")).await, Ok(2));
    assert_eq!(other.exported().await, before, "equal data makes equal bytes");
    assert_eq!(other.import(&before, archive_for("replaceAll")).await, Ok(2));
    assert_eq!(other.exported().await, before);
    // Deleted while an import waits, it does not come back by it.
    let (id, _) = other.proposed(&before, archive_for("replace")).await.expect("it can be");
    transact!(other.ground, |transaction| {
        let (component, _) = transaction.instances().pop().expect("it is there");
        transaction.delete_instance(component, 10).await?;
    });
    other.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    let refused = other.over(&id).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("ComponentNotFound")), "{refused:?}");
    other.becomes_tidy().await;
    harness.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_files_than_one_commit_can_replace_are_refused() {
    for (replaced_files_max, is_refused) in [(2, true), (3, false)] {
        let harness = Ground::new().await.serve(ArchiveLimits { replaced_files_max, ..LIMITS });
        fill(&harness).await;
        let none = archive_of(&[("_storage/documents.jsonl", "")]);
        let proposed = harness.proposed(&none, archive_for("replaceAll")).await;
        assert_eq!(proposed.is_err(), is_refused, "{proposed:?}");
        if let Err(message) = proposed {
            assert!(message.contains("archive.replaced_files_max"), "{message}");
        }
        harness.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_with_many_imports_leaves_a_place_to_its_neighbour() {
    let slow = ArchiveLimits { batch_documents_max: 1, ..LIMITS };
    let harness = Ground::new().await.serve(slow);
    let mut imports = Vec::new();
    for (table, documents) in [("short", 300), ("long", 20_000), ("last", 300)] {
        let import = rows_for(table, "jsonLines", "append");
        imports
            .push(harness.proposed("{}\n".repeat(documents).as_bytes(), import).await.expect("it can be").0);
    }
    let has_begun = |state: &ImportState| matches!(state, ImportState::InProgress { message, .. } if message != "Importing");
    let archives = &harness.archives;
    for id in &imports[..2] {
        archives.perform_import(DEPLOYMENT, id).await.expect("it is confirmed");
        harness.until(id, |state| has_begun(state) || state.is_over()).await;
    }
    archives.perform_import(DEPLOYMENT, &imports[2]).await.expect("it is confirmed");
    let export = NewExport { include_storage: false, component: String::new() };
    archives.request_export(NEIGHBOUR, export).await.expect("it is requested");
    for looks in 0.. {
        let mut transaction = harness.ground.transactions.snapshot(NEIGHBOUR).await.expect("a snapshot");
        let rows = transaction.rows::<ExportRow>("by_creation_time", &[]).await.expect("they are read");
        if matches!(rows[0].row.state, ExportState::Completed { .. }) {
            break;
        }
        assert!(looks < 4_000, "the neighbour waits for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let [long, last] = [harness.import_state(&imports[1]).await, harness.import_state(&imports[2]).await];
    assert!(has_begun(&long), "{long:?}");
    assert!(
        !has_begun(&last) && !last.is_over(),
        "it took the place that the neighbour waited for: {last:?}"
    );
    for id in &imports[1..] {
        archives.cancel_import(DEPLOYMENT, id).await.expect("it is canceled");
    }
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_waits_for_a_search_index_keeps_no_place_and_does_not_wait_for_ever() {
    let limits = ArchiveLimits { jobs_max: 1, ..LIMITS };
    // Nobody fills the index.
    let mut harness = Ground::searched(Deployment::fixed([])).await.serve(limits);
    declare(&harness).await;
    let import = rows_for("users", "jsonLines", "requireEmpty");
    let (id, _) = harness.proposed(b"{\"name\":\"Ada\"}", import).await.expect("it can be");
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    harness
        .until(&id, |state| matches!(state, ImportState::InProgress { done, .. } if !done.is_empty()))
        .await;
    assert_eq!(harness.documents("users").await, Some(Vec::new()), "an export has the place meanwhile");
    assert!(!harness.import_state(&id).await.is_over(), "it waits");
    // Each process waits from the moment on at which it goes on.
    harness = harness.restart(ArchiveLimits { search_wait_ms_max: 50, ..limits }).await;
    let refused = harness.over(&id).await;
    assert!(
        refused.as_ref().is_err_and(|message| message.contains("archive.search_wait_ms_max")),
        "{refused:?}"
    );
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_unpacks_no_more_than_it_says_and_may() {
    let limits = ArchiveLimits { unpacked_factor_max: 2, unpacked_bytes_min: 1_000, ..LIMITS };
    let harness = Ground::new().await.serve(limits);
    let blank = archive_of(&[("t/documents.jsonl", &"\n".repeat(100_000))]);
    let refused = harness.proposed(&blank, archive_for("append")).await;
    assert!(
        refused.as_ref().is_err_and(|message| message.contains("archive.unpacked_factor_max")),
        "{refused:?}"
    );
    // One that hides how much it is.
    let mut lying = blank.clone();
    let list = ZipArchive::new(Cursor::new(&blank)).expect("an archive").central_directory_start() as usize;
    lying[list + 24..list + 28].copy_from_slice(&9_u32.to_le_bytes());
    let refused = harness.proposed(&lying, archive_for("append")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("more bytes than")), "{refused:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_replaced_are_told_of_and_must_be_confirmed() {
    let harness = Harness::start().await;
    fill(&harness).await;
    let none = archive_of(&[("_storage/documents.jsonl", "")]);
    let refused = harness.proposed(&none, archive_for("requireEmpty")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("TableNotEmpty")), "{refused:?}");
    for (mode, told, asked) in
        [("replace", "_storage  create 0, delete 3\n", true), ("append", "_storage  create 0\n", false)]
    {
        let (id, message) = harness.proposed(&none, archive_for(mode)).await.expect("it can be");
        assert!(message.contains(told), "{message}");
        let state = harness.import_state(&id).await;
        assert!(
            matches!(state, ImportState::WaitingForConfirmation { must_be_confirmed, .. } if must_be_confirmed == asked),
            "{state:?}"
        );
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tables_are_refused_or_imported_and_the_row_of_the_import_stays_small() {
    const TABLES: usize = 150;
    let harness =
        Ground::new().await.serve(ArchiveLimits { tables_max: TABLES, entries_max: 2 * TABLES, ..LIMITS });
    let archive = |tables: usize| {
        let names: Vec<String> = (0..tables).map(|n| format!("t{n}/documents.jsonl")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "{\"a\":1}\n")).collect();
        archive_of(&files)
    };
    let refused = harness.proposed(&archive(2 * TABLES + 1), archive_for("append")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("archive.entries_max")), "{refused:?}");
    let refused = harness.proposed(&archive(TABLES + 1), archive_for("append")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("archive.tables_max")), "{refused:?}");
    let (id, _) = harness.proposed(&archive(TABLES), archive_for("requireEmpty")).await.expect("it can be");
    let mut transaction = harness.ground.snapshot().await;
    let fields =
        transaction.row_documents::<ImportRow>("by_creation_time", &[]).await.expect("they are read");
    let bytes = fields.iter().map(Object::size_bytes).max();
    assert!(bytes.is_some_and(|bytes| bytes < 8_000), "each step writes it: {bytes:?} bytes");
    drop(transaction);
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    let state = harness
        .until(&id, |state| match state {
            ImportState::InProgress { done, .. } => done.len() > 100,
            state => state.is_over(),
        })
        .await;
    if let ImportState::InProgress { done, .. } = state {
        assert_eq!(done.last().map(String::as_str), Some("Read the documents for 50 more tables"));
    }
    assert_eq!(harness.over(&id).await, Ok(TABLES as u64));
    harness.becomes_tidy().await;
    let mut transaction = harness.ground.snapshot().await;
    let left = transaction.rows::<ImportTableRow>("by_id", &[]).await.expect("they are read");
    assert!(left.is_empty(), "{left:?}");
    drop(transaction);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_the_processes_that_work_on_it_is_given_up() {
    let harness = Harness::start().await;
    let last_but_one = LIMITS.attempts_max - 1;
    // Of a process that is gone, as after a kill.
    let claim = Some(Claim { holder: [9; 16], beat: 3 });
    transact!(harness.ground, |transaction| {
        let export = ExportRow {
            state: ExportState::Requested,
            include_storage: false,
            component: String::new(),
            claim,
            attempts: last_but_one,
            object: None,
        };
        transaction.insert_row(&export).await?;
        let state = ImportState::Uploaded;
        let attempts = last_but_one;
        let import = ImportRow { state, order: None, claim, attempts, position: 0, is_cleared: false };
        transaction.insert_row(&import).await?;
    });
    loop {
        let mut transaction = harness.ground.snapshot().await;
        let imports = transaction.rows::<ImportRow>("by_creation_time", &[]).await.expect("they are read");
        let import = imports.into_iter().next().expect("it is there").row.state;
        let export = last_export(&harness).await.1.state;
        if !export.is_under_way() && import.is_over() {
            let ExportState::Failed { message } = export else { panic!("{export:?}") };
            assert!(message.contains("ended before it was done"), "{message}");
            let ImportState::Failed { message } = import else { panic!("{import:?}") };
            assert!(message.contains("ended before it was done"), "{message}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_lets_go_of_its_claims_and_that_is_no_failure() {
    // Nobody would take it from a process that ended without a word.
    let limits = ArchiveLimits { lease_ms: 600_000, ..LIMITS };
    let elsewhere = Deployment::fixed([]);
    let mut harness = Ground::searched(elsewhere).await.serve(limits);
    declare(&harness).await;
    let archive = archive_of(&[("users/documents.jsonl", "{\"name\":\"Ada\"}\n")]);
    let (id, _) = harness.proposed(&archive, archive_for("replaceAll")).await.expect("it can be");
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    let id: DocumentId = id.parse().expect("an id");
    for _ in 0..limits.attempts_max + 1 {
        // It waits for a search, and shows that it is there.
        loop {
            let mut transaction = harness.ground.snapshot().await;
            let row = transaction.row::<ImportRow>(id).await.expect("it is read").expect("it is there");
            assert!(!row.state.is_over() && row.attempts == 0, "{row:?}");
            if row.claim.is_some_and(|claim| claim.beat > 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        harness = harness.restart(limits).await;
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_can_not_be_read_stops_no_other_import_or_export() {
    let harness = Harness::start().await;
    transact!(harness.ground, |transaction| {
        // Longer than an array that is read back can be.
        let state = ImportState::InProgress { message: String::new(), done: vec![String::new(); 8_193] };
        let import =
            ImportRow { state, order: None, claim: None, attempts: 0, position: 0, is_cleared: false };
        transaction.insert_row(&import).await?;
    });
    assert_eq!(harness.import(b"{}", rows_for("t", "jsonLines", "append")).await, Ok(1));
    assert_eq!(harness.documents("t").await.map(|documents| documents.len()), Some(1));
    harness.stop().await;
}

/// A text in the fields of a document.
fn field(line: &str, name: &str) -> String {
    let fields = Value::from_json_in(line.trim_end(), JsonFormat::Export).expect("JSON");
    let fields = fields.into_object().expect("an object");
    fields.get(name).and_then(Value::as_str).expect("a text").to_owned()
}

/// As one part.
async fn import_large(harness: &Harness, bytes: &[u8], import: NewImport) -> Result<u64, String> {
    let archives = &harness.archives;
    let upload = archives.start_upload(DEPLOYMENT).await.expect("it begins");
    let mut part = archives.begin_part(DEPLOYMENT, &upload, 1).await.expect("it begins");
    part.write(Bytes::copy_from_slice(bytes)).await.expect("it is taken");
    let parts = vec![part.finish().await.expect("it is stored")];
    let id = archives.finish_upload(DEPLOYMENT, &upload, parts, import).await.expect("it is uploaded");
    match harness.until(&id, |state| *state != ImportState::Uploaded).await {
        ImportState::Failed { message } => Err(message),
        other => panic!("{other:?}"),
    }
}

/// Without them an import would know of no index and no schema.
async fn declare(harness: &Harness) {
    transact!(harness.ground, |transaction| {
        for name in ["posts", "users"] {
            transaction.create_table(name.parse().expect("a name")).await?;
        }
        let schema = r#"{"schemaValidation":true,"tables":[
            {"tableName":"posts","indexes":[{"indexDescriptor":"by_author","fields":["author"]}],"searchIndexes":[],"vectorIndexes":[],
             "documentType":{"type":"object","value":{"author":{"fieldType":{"type":"id","tableName":"users"},"optional":false}}}},
            {"tableName":"users","indexes":[],"searchIndexes":[{"indexDescriptor":"search_name","searchField":"name","filterFields":[]}],"vectorIndexes":[],
             "documentType":{"type":"object","value":{"name":{"fieldType":{"type":"string"},"optional":false}}}}]}"#;
        let posts = transaction.table(&"posts".parse().expect("a name")).expect("it is there");
        let row = IndexRow {
            component: ComponentId::ROOT,
            table: posts.tablet,
            id: transaction.new_index_id(),
            name: "by_author".parse().expect("a name"),
            fields: vec!["author".parse().expect("a path")],
            kind: IndexKind::Ordered,
            state: IndexState::Enabled,
            staged: false,
        };
        transaction.insert_row(&row).await?;
        let users = transaction.table(&"users".parse().expect("a name")).expect("it is there");
        let row = IndexRow {
            table: users.tablet,
            id: transaction.new_index_id(),
            name: "search_name".parse().expect("a name"),
            fields: vec!["name".parse().expect("a path")],
            kind: IndexKind::Text { filter_fields: Vec::new() },
            ..row
        };
        transaction.insert_row(&row).await?;
        let (component, state, error) = (ComponentId::ROOT, SchemaState::Active, None);
        transaction.insert_row(&SchemaRow { component, state, schema: schema.into(), error }).await?;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_keep_to_the_schema_and_its_indexes() {
    let harness = Harness::start().await;
    declare(&harness).await;
    let names = "{\"name\":\"Ada\"}\n{\"name\":\"Bob\"}\n";
    assert_eq!(harness.import(names.as_bytes(), rows_for("users", "jsonLines", "requireEmpty")).await, Ok(2));
    let users = harness.documents("users").await.expect("they are there");
    // Whoever sees the documents can search them.
    let mut transaction = harness.ground.snapshot().await;
    let table = transaction.table(&"users".parse().expect("a name")).expect("it is there");
    let index = table.index("search_name").expect("it has the index").id;
    let search = harness.ground.search.handle();
    let state = search.search_index(DEPLOYMENT, index).await.expect("it is known");
    assert_eq!((state.is_complete, state.documents), (true, 2));
    drop(transaction);
    let id_of = |line: &str| {
        let fields =
            Value::from_json_in(line, JsonFormat::Export).expect("JSON").into_object().expect("an object");
        fields.get("_id").and_then(Value::as_str).expect("an id").to_owned()
    };
    let posts: String = users.iter().map(|user| format!("{{\"author\":\"{}\"}}\n", id_of(user))).collect();
    assert_eq!(harness.import(posts.as_bytes(), rows_for("posts", "jsonLines", "replace")).await, Ok(2));
    // The table that came has the index, and all documents are in it.
    let mut transaction = harness.ground.snapshot().await;
    let table = transaction.table(&"posts".parse().expect("a name")).expect("it is there");
    let index = table.index("by_author").expect("it has the index").id;
    let read = contract::Read::Range {
        index,
        interval: contract::Interval::all(),
        order: contract::Order::Ascending,
        rows_max: 10,
        bytes_max: 1 << 20,
    };
    let results =
        transaction.log().read(DEPLOYMENT, transaction.begin_at(), &[read]).await.expect("it is read");
    assert!(
        matches!(&results[..], [contract::ReadResult::Range { rows, .. }] if rows.len() == 2),
        "{results:?}"
    );
    drop(transaction);

    // Documents that don't fit are named, and nothing changes.
    for (text, what) in [
        ("{\"name\":7}", "SchemaEnforcementError"),
        ("{\"name\":\"x\",\"more\":1}", "SchemaEnforcementError"),
    ] {
        for mode in ["append", "replace"] {
            let refused = harness.import(text.as_bytes(), rows_for("users", "jsonLines", mode)).await;
            let refused = refused.expect_err(text);
            assert!(refused.contains(what) && refused.contains("line 1"), "{refused}");
        }
    }
    assert_eq!(harness.documents("users").await.expect("there"), users);

    // Ids that documents of another table have must go on to be ids of the table.
    let others = "{\"_id\":\"NEW\",\"name\":\"Eve\"}".replace(
        "NEW",
        &DocumentId::new(
            value::TableNumber::new(10_077).expect("a number"),
            value::InternalId::from_bytes([9; 16]),
        )
        .to_string(),
    );
    let refused = harness.import(others.as_bytes(), rows_for("users", "jsonLines", "replace")).await;
    assert!(refused.as_ref().is_err_and(|message| message.contains("ImportForeignKey")), "{refused:?}");
    // With everything else cleared, it may.
    assert_eq!(harness.import(others.as_bytes(), rows_for("users", "jsonLines", "replaceAll")).await, Ok(1));
    assert_eq!(harness.documents("posts").await, Some(Vec::new()), "a declared table is cleared, and stays");
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_meanwhile_makes_an_import_fail_that_did_not_know_of_it() {
    let harness = Harness::start().await;
    declare(&harness).await;
    let (id, _) = harness
        .proposed(b"{\"name\":\"Ada\"}", rows_for("users", "jsonLines", "replace"))
        .await
        .expect("it could be");
    transact!(harness.ground, |transaction| {
        let schema = transaction.active_schema().expect("it is there");
        transaction.delete_row::<SchemaRow>(schema.id).await?;
    });
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    let refused = harness.over(&id).await.expect_err("it can't be");
    assert!(refused.contains("ImportSchemaChanged"), "{refused}");
    assert_eq!(harness.documents("users").await, Some(Vec::new()));
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_meanwhile_makes_one_fail_whose_ids_are_no_longer_ids() {
    let harness = Harness::start().await;
    declare(&harness).await;
    let names = rows_for("users", "jsonLines", "replace");
    assert_eq!(harness.import(b"{\"name\":\"Ada\"}", names.clone()).await, Ok(1));
    let users = harness.documents("users").await.expect("they are there");
    let post = format!("{{\"author\":\"{}\"}}", field(&users[0], "_id"));
    let posts = rows_for("posts", "jsonLines", "replace");
    let (id, _) = harness.proposed(post.as_bytes(), posts.clone()).await.expect("it could be");
    // No post is there that this would make invalid.
    let number = value::TableNumber::new(10_077).expect("a number");
    let other = DocumentId::new(number, value::InternalId::from_bytes([9; 16]));
    let other = format!("{{\"_id\":\"{other}\",\"name\":\"Eve\"}}");
    assert_eq!(harness.import(other.as_bytes(), names).await, Ok(1));
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    let refused = harness.over(&id).await.expect_err("it can't be");
    assert!(refused.contains("ImportForeignKey"), "{refused}");
    assert_eq!(harness.documents("posts").await, Some(Vec::new()));
    harness.becomes_tidy().await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_once_of_a_table_without_documents() {
    // Nobody searches this deployment, so the import waits behind its last table, wherever it is begun again.
    let elsewhere = Deployment::fixed([]);
    let mut harness = Ground::searched(elsewhere).await.serve(LIMITS);
    declare(&harness).await;
    let archive =
        archive_of(&[("users/documents.jsonl", "{\"name\":\"Ada\"}\n"), ("zebras/documents.jsonl", "")]);
    let (id, _) = harness.proposed(&archive, archive_for("replaceAll")).await.expect("it can be");
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    let told = |state: &ImportState| match state {
        ImportState::InProgress { done, .. } => done.clone(),
        other => panic!("{other:?}"),
    };
    let is_told = |state: &ImportState| told(state).iter().any(|line| line.contains("zebras"));
    for _ in 0..3 {
        harness.until(&id, is_told).await;
        let row: DocumentId = id.parse().expect("an id");
        let mut transaction = harness.ground.snapshot().await;
        let before = transaction.row::<ImportRow>(row).await.expect("it is read").expect("it is there").claim;
        drop(transaction);
        harness = harness.restart(LIMITS).await;
        loop {
            let mut transaction = harness.ground.snapshot().await;
            let row = transaction.row::<ImportRow>(row).await.expect("it is read").expect("it is there");
            // It was begun again, and is at work.
            if row
                .claim
                .is_some_and(|claim| before.is_none_or(|old| old.holder != claim.holder) && claim.beat > 2)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let done = told(&harness.import_state(&id).await);
    assert_eq!(done.iter().filter(|line| line.contains("zebras")).count(), 1, "{done:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_wherever_it_was_interrupted_and_brings_each_document_once() {
    for mode in ["append", "replace"] {
        let slow = ArchiveLimits { batch_documents_max: 1, ..LIMITS };
        let mut harness = Ground::new().await.serve(slow);
        transact!(harness.ground, |transaction| {
            transaction.insert("t", Value::Object(object! { "old" => true })).await?;
        });
        let lines = (0..200).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
        let (id, _) =
            harness.proposed(lines.as_bytes(), rows_for("t", "jsonLines", mode)).await.expect("it can be");
        harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
        let mut interrupted = 0;
        while !harness.import_state(&id).await.is_over() {
            let mut transaction = harness.ground.snapshot().await;
            let there = transaction.count("t").await.expect("it is counted");
            drop(transaction);
            match mode {
                "append" => assert!((1..=201).contains(&there), "{there}"),
                _ => assert!(there == 1 || there == 200, "the old documents or the new: {there}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            if interrupted < 4 {
                harness = harness.restart(slow).await;
                interrupted += 1;
            }
        }
        assert_eq!(harness.over(&id).await, Ok(200), "{mode}");
        let there = harness.documents("t").await.expect("there");
        assert_eq!(there.len(), if mode == "append" { 201 } else { 200 });
        let numbers: std::collections::BTreeSet<&str> =
            there.iter().filter_map(|line| line.split_once("\"n\":")?.1.split(['}', ',']).next()).collect();
        assert_eq!(numbers.len(), 200, "each document came once");
        assert!(interrupted > 0, "it was interrupted");
        harness.becomes_tidy().await;
        harness.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_import_leaves_nothing() {
    let slow = ArchiveLimits { batch_documents_max: 1, ..LIMITS };
    let harness = Ground::new().await.serve(slow);
    let lines = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
    let (id, message) =
        harness.proposed(lines.as_bytes(), rows_for("t", "jsonLines", "replace")).await.expect("it can be");
    assert!(message.contains("create 500"), "{message}");
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("it is confirmed");
    harness.archives.cancel_import(DEPLOYMENT, &id).await.expect("it is canceled");
    let refused = harness.over(&id).await.expect_err("it is given up");
    assert!(refused.contains("canceled"), "{refused}");
    // Given up twice, or confirmed afterwards, it stays as it is.
    harness.archives.cancel_import(DEPLOYMENT, &id).await.expect("nothing is to be done");
    harness.archives.perform_import(DEPLOYMENT, &id).await.expect("nothing is to be done");
    harness.becomes_tidy().await;
    assert_eq!(harness.documents("t").await, None);
    assert!(harness.table_rows().await.is_empty());
    let mut transaction = harness.ground.snapshot().await;
    let objects = transaction.rows::<FileObjectRow>("by_id", &[]).await.expect("they are read");
    let kept = objects.iter().filter(|object| object.row.state != transaction::FileState::Discarded);
    // But for the export that was just made.
    assert_eq!(kept.count(), 1);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_one_moment_and_survives_a_restart() {
    let harness = Harness::start().await;
    transact!(harness.ground, |transaction| {
        transaction.insert("left", Value::Object(object! { "n" => 0.0 })).await?;
        transaction.insert("right", Value::Object(object! { "n" => 0.0 })).await?;
    });
    // Two documents that are always equal.
    let writing = CancellationToken::new();
    let writer = {
        let (transactions, writing) = (harness.ground.transactions.clone(), writing.clone());
        tokio::spawn(async move {
            let mut n = 0.0;
            while !writing.is_cancelled() {
                n += 1.0;
                let insert = work(move |transaction| {
                    Box::pin(async move {
                        for table in ["left", "right"] {
                            transaction.insert(table, Value::Object(object! { "n" => n })).await?;
                        }
                        Ok(())
                    })
                });
                transactions.transact(DEPLOYMENT, &insert).await.expect("it commits");
            }
        })
    };
    let numbers = |archive: &[u8], table: &str| -> Vec<String> {
        let text =
            String::from_utf8(entries(archive)[&format!("{table}/documents.jsonl")].clone()).expect("text");
        let mut numbers: Vec<String> =
            text.lines().map(|line| line.split_once("\"n\":").expect("a number").1.to_owned()).collect();
        numbers.sort();
        numbers
    };
    for _ in 0..3 {
        let archive = harness.exported().await;
        assert_eq!(numbers(&archive, "left"), numbers(&archive, "right"));
    }
    let export = NewExport { include_storage: false, component: String::new() };
    harness.archives.request_export(DEPLOYMENT, export.clone()).await.expect("it is requested");
    let second = harness.archives.request_export(DEPLOYMENT, export).await;
    let harness = harness.restart(LIMITS).await;
    let archive = harness.finished_export().await;
    assert_eq!(numbers(&archive, "left"), numbers(&archive, "right"));
    if let Err(error) = second {
        assert_eq!(error.code, "ExportInProgress");
    }
    writing.cancel();
    writer.await.expect("it ends");

    // It goes when it is told to.
    let mut transaction = harness.ground.snapshot().await;
    let rows = transaction.rows::<ExportRow>("by_creation_time", &[]).await.expect("they are read");
    drop(transaction);
    let id = rows.last().expect("one is there").id.to_string();
    assert!(harness.archives.find_export(DEPLOYMENT, &id).await.expect("it is looked for").is_some());
    harness.archives.set_export_expiration(DEPLOYMENT, &id, 1).await.expect("it is told");
    for _ in 0..1_000 {
        if harness.archives.find_export(DEPLOYMENT, &id).await.expect("it is looked for").is_none() {
            harness.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the export stays");
}

/// A store in which each piece of an object takes its time.
struct Slow {
    objects: Arc<dyn ObjectStore>,
    pause: Duration,
    /// Each object that is being written has it.
    writing: Arc<()>,
}

struct SlowWriter {
    object: Box<dyn ObjectWriter>,
    pause: Duration,
    _writing: Arc<()>,
}

#[async_trait]
impl ObjectStore for Slow {
    async fn create(&self, name: ObjectName) -> contract::Result<Box<dyn ObjectWriter>> {
        let object = self.objects.create(name).await?;
        Ok(Box::new(SlowWriter { object, pause: self.pause, _writing: self.writing.clone() }))
    }
    async fn size(&self, name: ObjectName) -> contract::Result<Option<u64>> {
        self.objects.size(name).await
    }
    async fn read(&self, name: ObjectName, range: Range<u64>) -> contract::Result<Option<ObjectBytes>> {
        self.objects.read(name, range).await
    }
    async fn delete(&self, name: ObjectName) -> contract::Result<()> {
        self.objects.delete(name).await
    }
}

#[async_trait]
impl ObjectWriter for SlowWriter {
    async fn write(&mut self, bytes: Bytes) -> contract::Result<()> {
        tokio::time::sleep(self.pause).await;
        self.object.write(bytes).await
    }
    async fn finish(self: Box<Self>) -> contract::Result<ObjectSummary> {
        self.object.finish().await
    }
}

/// A deployment whose export takes several times as long as moments are kept, with so many moments that may be held. Besides, what
/// each object has that is being written.
async fn slow_to_export(holds_max: usize, archive: ArchiveLimits) -> (Harness, Arc<()>) {
    let retention = Duration::from_millis(700);
    let limits = txlog::LogLimits {
        retention_ms_min: retention.as_millis() as u64,
        window_age_ms_min: 500,
        hold_ms: 1_000,
        holds_max,
        ..txlog::LogLimits::DEFAULT
    };
    let mut ground = Ground::with(deployments(), limits).await;
    let writing = Arc::new(());
    ground.objects = Arc::new(Slow { objects: ground.objects, pause: retention, writing: writing.clone() });
    let harness = ground.serve(archive);
    // Half of it is in the archive: a piece for each 512 KiB.
    for _ in 0..6 {
        transact!(harness.ground, |transaction| {
            for _ in 0..8 {
                let text: String = (0..32_768).map(|_| format!("{:02x}", rand::random::<u8>())).collect();
                transaction.insert("texts", Value::Object(object! { "text" => text })).await?;
            }
        });
    }
    (harness, writing)
}

async fn write_something(harness: &Harness) {
    transact!(harness.ground, |transaction| {
        transaction.insert("others", Value::Object(object! { "n" => 1.0 })).await?;
    });
}

/// The newest export, and its id.
async fn last_export(harness: &Harness) -> (DocumentId, ExportRow) {
    let mut transaction = harness.ground.snapshot().await;
    let rows = transaction.rows::<ExportRow>("by_creation_time", &[]).await.expect("they are read");
    let last = rows.into_iter().last().expect("one was requested");
    (last.id, last.row)
}

/// What becomes of such an export, and how many moments are held then.
async fn slow_export(holds_max: usize) -> (ExportState, u64) {
    let (harness, _) = slow_to_export(holds_max, LIMITS).await;
    let export = NewExport { include_storage: false, component: String::new() };
    harness.archives.request_export(DEPLOYMENT, export).await.expect("it is requested");
    let mut most_held = 0;
    let state = loop {
        write_something(&harness).await;
        most_held = most_held.max(harness.ground.log.handle().metrics().held);
        let (_, ExportRow { state, .. }) = last_export(&harness).await;
        if !state.is_under_way() {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(harness.ground.log.handle().metrics().held, 0, "it is let go of");
    harness.stop().await;
    (state, most_held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_takes_longer_than_moments_are_kept_holds_its_own() {
    let (state, held) = slow_export(1).await;
    assert!(matches!(state, ExportState::Completed { .. }), "{state:?}");
    assert_eq!(held, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_held_by_nobody_fails_and_says_so() {
    let (state, held) = slow_export(0).await;
    let ExportState::Failed { message } = state else { panic!("{state:?}: the other test can't fail") };
    assert!(message.contains("took longer than its moment is kept"), "{message}");
    assert_eq!(held, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_an_export_to_another_process_does_not_fail_it() {
    // As a process that stood still: it does not look whether the export is still its own.
    let limits = ArchiveLimits { beat_ms: 600_000, lease_ms: 600_000, ..LIMITS };
    let (harness, writing) = slow_to_export(0, limits).await;
    let export = NewExport { include_storage: false, component: String::new() };
    harness.archives.request_export(DEPLOYMENT, export).await.expect("it is requested");
    let is_begun = |row: &ExportRow| matches!(row.state, ExportState::InProgress { .. });
    while !is_begun(&last_export(&harness).await.1) || Arc::strong_count(&writing) == 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    transact!(harness.ground, |transaction| {
        let rows = transaction.rows::<ExportRow>("by_creation_time", &[]).await?;
        let Stored { id, row } = rows.into_iter().last().expect("it is there");
        let claim = Some(Claim { holder: [9; 16], beat: 0 });
        transaction.replace_row(id, &ExportRow { claim, ..row }).await?;
    });
    // It finds that its moment is no longer kept, and ends.
    while Arc::strong_count(&writing) > 2 {
        write_something(&harness).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let harness = harness.restart(limits).await;
    let (_, row) = last_export(&harness).await;
    assert!(is_begun(&row) && row.attempts == 0, "{row:?}");
    assert_eq!(row.claim.map(|claim| claim.holder), Some([9; 16]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_too_many_files_is_not_made() {
    // The README, the list of tables, and the first table's documents.
    let harness = Ground::new().await.serve(ArchiveLimits { entries_max: 3, ..LIMITS });
    write_something(&harness).await;
    let export = NewExport { include_storage: true, component: String::new() };
    harness.archives.request_export(DEPLOYMENT, export).await.expect("it is requested");
    let state = loop {
        let (_, ExportRow { state, .. }) = last_export(&harness).await;
        if !state.is_under_way() {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let ExportState::Failed { message } = state else { panic!("{state:?}") };
    assert!(message.contains("archive.entries_max is 3"), "{message}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_can_not_be_are_refused_by_their_codes() {
    let harness = Harness::start().await;
    let code = |result: contract::Result<()>| result.expect_err("it is refused").code;
    let archives = &harness.archives;
    assert_eq!(code(archives.perform_import(DEPLOYMENT, "x").await.map(drop)), "ImportNotFound");
    assert_eq!(code(archives.cancel_import(DEPLOYMENT, "x").await), "ImportNotFound");
    assert_eq!(code(archives.cancel_export(DEPLOYMENT, "x").await), "ExportNotFound");
    let unknown = NewExport { include_storage: false, component: "nope".to_owned() };
    // Not 404, which tools take for a server that is not there yet, and ask again.
    let error = archives.request_export(DEPLOYMENT, unknown).await.expect_err("it is refused");
    assert_eq!((error.code, error.kind), ("ComponentNotFound".into(), ErrorKind::BadRequest));
    let upload = archives.start_upload(DEPLOYMENT).await.expect("it begins");
    assert_eq!(code(archives.perform_import(DEPLOYMENT, &upload).await.map(drop)), "ImportNotReady");
    assert_eq!(code(archives.begin_part(DEPLOYMENT, &upload, 0).await.map(drop)), "InvalidImport");
    let finish = async |parts: Vec<String>, component: &str| {
        let import = NewImport { component: component.to_owned(), ..rows_for("t", "csv", "append") };
        archives.finish_upload(DEPLOYMENT, &upload, parts, import).await.map(drop)
    };
    assert_eq!(code(finish(vec!["x".to_owned()], "").await), "InvalidImport");
    assert_eq!(code(finish(vec![upload.clone()], "").await), "InvalidImport");
    assert_eq!(code(finish(Vec::new(), "nope").await), "ComponentNotFound");
    let mut parts = Vec::new();
    for number in 1..3 {
        let mut part = archives.begin_part(DEPLOYMENT, &upload, number).await.expect("it begins");
        part.write(Bytes::from_static(b"a\n")).await.expect("it is taken");
        parts.push(part.finish().await.expect("it is stored"));
    }
    // An import that stays where it is, with the parts in another order than that of their numbers.
    parts.reverse();
    finish(parts.clone(), "").await.expect("they are there");
    finish(parts.clone(), "").await.expect("it comes again");
    assert_eq!(code(finish(Vec::new(), "").await), "InvalidImport");
    assert_eq!(code(finish(parts[..1].to_vec(), "").await), "InvalidImport");
    parts.reverse();
    assert_eq!(code(finish(parts, "").await), "InvalidImport");
    assert_eq!(code(archives.begin_part(DEPLOYMENT, &upload, 1).await.map(drop)), "InvalidImport");
    harness.stop().await;
}
