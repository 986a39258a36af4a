//! The service: what it is made of, how it starts and stops, and its contract.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use contract::{
    Archives, DeploymentRef, Deployments, Error, ErrorKind, NewExport, NewImport, ObjectBytes, ObjectStore,
    PartUpload, Result, Search, StoredExport, StreamedRecord,
};
use deployment_tasks::for_each_deployment;
use fair_queue::{Places, Shares, share_of};
use system_transaction::{Result as Transacted, SystemTransactions, Work};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transaction::{
    ExportRow, ExportState, FileObjectRow, FileState, ImportFormat, ImportMode, ImportOrder, ImportRow,
    ImportState, Transaction, object_name,
};
use value::{ComponentId, DocumentId, TableName};

use crate::{
    ArchiveLimits,
    components::component_at,
    import::drop_hidden_tables,
    job::is_of,
    jobs::{self, Found, rows_of},
    streamed::{self, ClearTables, Filling},
    upload,
};

/// Its document, and its object.
const ROWS_OF_A_FILE: usize = 2;

#[derive(Clone, Debug)]
pub struct Options {
    pub limits: ArchiveLimits,
    /// The deployments whose exports and imports this process works on. Several processes may do so for one deployment.
    pub worked_on: watch::Receiver<Arc<Deployments>>,
}

/// What the service works with.
#[derive(Clone)]
pub struct Dependencies {
    pub transactions: SystemTransactions,
    pub objects: Arc<dyn ObjectStore>,
    /// Fills the indexes for searches of the tables that imports fill.
    pub search: Arc<dyn Search>,
}

pub struct Service {
    handle: Handle,
    shutdown: CancellationToken,
}

/// Exports and imports; [`contract::Archives`] says what is promised. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub limits: ArchiveLimits,
    pub transactions: SystemTransactions,
    /// For the one commit by which an import takes effect, which writes rows for each file that comes or goes.
    pub swaps: SystemTransactions,
    pub objects: Arc<dyn ObjectStore>,
    pub search: Arc<dyn Search>,
    /// Names this process among those that work for a deployment.
    pub holder: [u8; 16],
    /// Changes when there is something new to do.
    pub wanted: watch::Sender<u64>,
    /// For exports and imports that are worked on.
    pub places: Places,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    pub runtime: tokio::runtime::Handle,
    pub filling: Filling,
}

impl Service {
    /// Runs on the current runtime. What is under way when `shutdown` is cancelled goes on with the next start, or elsewhere.
    pub fn start(options: Options, dependencies: Dependencies, shutdown: CancellationToken) -> Service {
        let Dependencies { transactions, objects, search } = dependencies;
        let mut swaps = transactions.clone();
        let mut swap_limits = *transactions.limits;
        let files_max = options.limits.files_max.saturating_add(options.limits.replaced_files_max);
        let rows_max = &mut swap_limits.transaction.system_written_documents_max;
        *rows_max = rows_max.saturating_add(files_max.saturating_mul(ROWS_OF_A_FILE));
        swaps.limits = Arc::new(swap_limits);
        let shared = Arc::new(Shared {
            limits: options.limits,
            transactions,
            swaps,
            objects,
            search,
            holder: rand::random(),
            wanted: watch::Sender::new(0),
            places: Places::shared(
                options.limits.jobs_max,
                share_of(options.limits.jobs_max, options.limits.deployment_share_percent),
                Shares::of(options.worked_on.clone()),
            ),
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
            runtime: tokio::runtime::Handle::current(),
            filling: Filling::default(),
        });
        let working = shared.clone();
        let all = for_each_deployment(options.worked_on, shutdown.clone(), move |deployment, token| {
            jobs::run(working.clone(), deployment.reference, token)
        });
        shared.tasks.spawn(all);
        Service { handle: Handle { shared }, shutdown }
    }

    /// The way to the service.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end that cancelling the token brings about.
    pub async fn stopped(self) {
        self.shutdown.cancelled().await;
        self.handle.shared.tasks.close();
        self.handle.shared.tasks.wait().await;
    }
}

impl Handle {
    /// How much of its limits is used.
    pub fn limits_used(&self) -> Vec<limits::Use> {
        let (used, max) = self.shared.places.load();
        vec![limits::Use::of("archive.jobs_max", used, max)]
    }

    async fn transact<W: Work + Send>(&self, deployment: DeploymentRef, work: W) -> Result<W::Output> {
        let output = self.shared.transactions.transact(deployment, &work).await?;
        self.shared.wanted.send_modify(|count| *count = count.wrapping_add(1));
        Ok(output)
    }
}

#[async_trait]
impl Archives for Handle {
    async fn start_upload(&self, deployment: DeploymentRef) -> Result<String> {
        self.transact(deployment, StartUpload).await
    }

    async fn begin_part(
        &self,
        deployment: DeploymentRef,
        upload: &str,
        number: u32,
    ) -> Result<Box<dyn PartUpload>> {
        upload::begin(self.shared.clone(), deployment, import_id(upload)?, number).await
    }

    async fn finish_upload(
        &self,
        deployment: DeploymentRef,
        upload: &str,
        parts: Vec<String>,
        import: NewImport,
    ) -> Result<String> {
        let import_id = import_id(upload)?;
        let order = order_of(import)?;
        let invalid = || Error::bad_request("InvalidImport", "What names a part was not given out for it.");
        let parts: Option<Vec<DocumentId>> = parts.iter().map(|part| part.parse().ok()).collect();
        let finish = FinishUpload { import: import_id, parts: parts.ok_or_else(invalid)?, order };
        self.transact(deployment, finish).await?;
        Ok(upload.to_owned())
    }

    async fn perform_import(&self, deployment: DeploymentRef, import: &str) -> Result<Option<NewImport>> {
        self.transact(deployment, Perform(import_id(import)?)).await
    }

    async fn cancel_import(&self, deployment: DeploymentRef, import: &str) -> Result<()> {
        let import = import_id(import)?;
        let message = "The import was canceled.".to_owned();
        self.transact(deployment, CancelImport { import, holder: None, message }).await
    }

    async fn request_export(&self, deployment: DeploymentRef, export: NewExport) -> Result<()> {
        self.transact(deployment, RequestExport(export)).await
    }

    async fn cancel_export(&self, deployment: DeploymentRef, export: &str) -> Result<()> {
        self.transact(deployment, CancelExport(export_id(export)?)).await
    }

    async fn set_export_expiration(
        &self,
        deployment: DeploymentRef,
        export: &str,
        expires_ns: u64,
    ) -> Result<()> {
        let expires_ns = expires_ns.min(i64::MAX as u64);
        self.transact(deployment, SetExpiration { export: export_id(export)?, expires_ns }).await
    }

    async fn find_export(&self, deployment: DeploymentRef, name: &str) -> Result<Option<StoredExport>> {
        let mut transaction = self.shared.transactions.snapshot(deployment).await?;
        let exports = rows_of::<ExportRow>(&mut transaction).await;
        let exports = exports.map_err(transaction::Error::of_the_system)?;
        Ok(exports.into_iter().rev().flatten().find_map(|Found { id, row, .. }| {
            let ExportState::Completed { start, size_bytes, .. } = row.state else { return None };
            let moment = start.as_nanoseconds().to_string();
            let is_this = name == moment || name == id.to_string();
            let object = object_name(deployment, ComponentId::ROOT, row.object.filter(|_| is_this)?);
            Some(StoredExport { object, size_bytes, file_name: format!("snapshot_{moment}.zip") })
        }))
    }

    async fn read_export(&self, export: &StoredExport) -> Result<ObjectBytes> {
        let bytes = self.shared.objects.read(export.object, 0..export.size_bytes).await?;
        bytes.ok_or_else(export_not_found)
    }

    async fn add_primary_key_indexes(
        &self,
        deployment: DeploymentRef,
        keys: BTreeMap<String, Vec<Vec<String>>>,
    ) -> Result<()> {
        streamed::add_indexes(&self.shared, deployment, keys).await
    }

    async fn primary_key_indexes_ready(
        &self,
        deployment: DeploymentRef,
        tables: Vec<String>,
    ) -> Result<bool> {
        streamed::are_ready(&self.shared, deployment, tables).await
    }

    async fn import_records(
        &self,
        deployment: DeploymentRef,
        streams: BTreeMap<String, Option<Vec<Vec<String>>>>,
        records: Vec<StreamedRecord>,
    ) -> Result<()> {
        streamed::import_records(&self.shared, deployment, streams, records).await
    }

    async fn clear_tables(&self, deployment: DeploymentRef, tables: Vec<String>) -> Result<()> {
        self.transact(deployment, ClearTables::new(&tables)?).await
    }
}

fn import_not_found() -> Error {
    Error::new(ErrorKind::NotFound, "ImportNotFound", "There is no such import.")
}

fn export_not_found() -> Error {
    Error::new(ErrorKind::NotFound, "ExportNotFound", "There is no such export.")
}

fn import_id(text: &str) -> Result<DocumentId> {
    text.parse().map_err(|_| import_not_found())
}

fn export_id(text: &str) -> Result<DocumentId> {
    text.parse().map_err(|_| export_not_found())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::bad_request("InvalidImport", message)
}

fn order_of(import: NewImport) -> Result<ImportOrder> {
    let NewImport { format, mode, table, component } = import;
    let excerpt = |text: &str| text.chars().take(64).collect::<String>();
    let unknown =
        |what: &str, text: &str| invalid(format!("There is no {what} {:?} of imports.", excerpt(text)));
    let format = ImportFormat::from_name(&format).ok_or_else(|| unknown("format", &format))?;
    let mode = ImportMode::from_name(&mode).ok_or_else(|| unknown("mode", &mode))?;
    let table: Option<TableName> = table
        .map(|name| {
            let parsed = name.parse::<TableName>();
            parsed.map_err(|error| invalid(format!("The table can't be {:?}: {error}.", excerpt(&name))))
        })
        .transpose()?;
    match (&table, format) {
        (Some(_), ImportFormat::Zip) => Err(invalid("An archive names its tables itself.")),
        (None, ImportFormat::Csv | ImportFormat::JsonLines | ImportFormat::JsonArray) => {
            Err(invalid(format!("An import of the format {} needs a table.", format.name())))
        }
        (Some(name), _) if name.is_system() => {
            Err(invalid(format!("`{name}` is the system's: it can't be imported into.")))
        }
        _ => Ok(ImportOrder { format, mode, component, table }),
    }
}

struct StartUpload;

#[async_trait]
impl Work for StartUpload {
    type Output = String;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<String> {
        let row = ImportRow {
            state: ImportState::Uploading,
            order: None,
            claim: None,
            attempts: 0,
            position: 0,
            is_cleared: false,
        };
        Ok(transaction.insert_row(&row).await?.to_string())
    }
}

/// The row of an import that somebody names.
pub(crate) async fn import_row(transaction: &mut Transaction, id: DocumentId) -> Transacted<ImportRow> {
    if id.table != transaction::SystemTable::SnapshotImports.number() {
        return Err(import_not_found().into());
    }
    Ok(transaction.row::<ImportRow>(id).await?.ok_or_else(import_not_found)?)
}

async fn export_row(transaction: &mut Transaction, id: DocumentId) -> Transacted<ExportRow> {
    if id.table != transaction::SystemTable::Exports.number() {
        return Err(export_not_found().into());
    }
    Ok(transaction.row::<ExportRow>(id).await?.ok_or_else(export_not_found)?)
}

struct FinishUpload {
    import: DocumentId,
    parts: Vec<DocumentId>,
    order: ImportOrder,
}

impl FinishUpload {
    /// Whether the upload was finished with these parts. Those of an import that is over are let go, and not known any more.
    async fn has_these_parts(&self, transaction: &mut Transaction, row: &ImportRow) -> Transacted<bool> {
        if row.state.is_over() {
            return Ok(true);
        }
        let of = [self.import.internal_id.to_string().into()];
        let stored = transaction.rows::<FileObjectRow>("by_file", &of).await?;
        let mut parts: Vec<(u32, DocumentId)> = stored
            .into_iter()
            .filter_map(|stored| match stored.row.state {
                FileState::Part { number, .. } => Some((number, stored.id)),
                _ => None,
            })
            .collect();
        parts.sort_unstable();
        Ok(parts.iter().map(|(_, id)| id).eq(&self.parts))
    }
}

#[async_trait]
impl Work for FinishUpload {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let row = import_row(transaction, self.import).await?;
        match row.state {
            ImportState::Uploading => {}
            // It comes again, because the answer was lost.
            _ if row.order.as_ref() == Some(&self.order)
                && self.has_these_parts(transaction, &row).await? =>
            {
                return Ok(());
            }
            _ => return Err(invalid("The upload is finished.").into()),
        }
        component_at(transaction, &self.order.component)?;
        let of = self.import.internal_id;
        let stored = transaction.rows::<FileObjectRow>("by_file", &[of.to_string().into()]).await?;
        let mut stored: BTreeMap<DocumentId, FileObjectRow> =
            stored.into_iter().map(|stored| (stored.id, stored.row)).collect();
        for (number, part) in (1..).zip(&self.parts) {
            let Some(row) = stored.remove(part) else {
                return Err(
                    invalid(format!("Part {number} of the upload is not there, or comes twice.")).into()
                );
            };
            let state = FileState::Part { of, number };
            if row.state != state {
                transaction.set_object_state(*part, state).await?;
            }
        }
        // Parts that were sent again.
        for (part, _) in stored {
            transaction.set_object_state(part, FileState::Discarded).await?;
        }
        let row = ImportRow { state: ImportState::Uploaded, order: Some(self.order.clone()), ..row };
        Ok(transaction.replace_row(self.import, &row).await?)
    }
}

struct Perform(DocumentId);

#[async_trait]
impl Work for Perform {
    type Output = Option<NewImport>;

    async fn run(&self, transaction: &mut Transaction) -> Transacted<Option<NewImport>> {
        let row = import_row(transaction, self.0).await?;
        match row.state {
            ImportState::WaitingForConfirmation { .. } => {
                let state = ImportState::InProgress { message: "Importing".to_owned(), done: Vec::new() };
                let row = ImportRow { state, claim: None, attempts: 0, ..row };
                transaction.replace_row(self.0, &row).await?;
                Ok(row.order.map(|order| NewImport {
                    format: order.format.name().to_owned(),
                    mode: order.mode.name().to_owned(),
                    table: order.table.map(|table| table.to_string()),
                    component: order.component,
                }))
            }
            ImportState::Uploading | ImportState::Uploaded => {
                let message = "The import has not been read yet.";
                Err(Error::bad_request("ImportNotReady", message).into())
            }
            ImportState::InProgress { .. } | ImportState::Completed { .. } | ImportState::Failed { .. } => {
                Ok(None)
            }
        }
    }
}

/// Gives up an import, so that nothing of it can take effect any more.
pub(crate) struct CancelImport {
    pub import: DocumentId,
    /// The process that has worked on it, where it is this one that gives it up: if it is another's by now, nothing happens.
    pub holder: Option<[u8; 16]>,
    pub message: String,
}

#[async_trait]
impl Work for CancelImport {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let row = import_row(transaction, self.import).await?;
        if row.state.is_over() || self.holder.is_some_and(|holder| !is_of(row.claim, holder)) {
            return Ok(());
        }
        drop_hidden_tables(transaction, self.import.internal_id).await?;
        let state = ImportState::Failed { message: self.message.clone() };
        let row = ImportRow { state, claim: None, ..row };
        Ok(transaction.replace_row(self.import, &row).await?)
    }
}

struct RequestExport(NewExport);

#[async_trait]
impl Work for RequestExport {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let NewExport { include_storage, component } = &self.0;
        component_at(transaction, component)?;
        let exports = rows_of::<ExportRow>(transaction).await?;
        if exports.iter().flatten().any(|export| export.row.state.is_under_way()) {
            let message = "An export is under way. Another one can be requested when it is over.";
            return Err(Error::bad_request("ExportInProgress", message).into());
        }
        let row = ExportRow {
            state: ExportState::Requested,
            include_storage: *include_storage,
            component: component.clone(),
            claim: None,
            attempts: 0,
            object: None,
        };
        transaction.insert_row(&row).await?;
        Ok(())
    }
}

struct CancelExport(DocumentId);

#[async_trait]
impl Work for CancelExport {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let row = export_row(transaction, self.0).await?;
        if row.state.is_under_way() {
            let row = ExportRow { state: ExportState::Canceled, claim: None, ..row };
            transaction.replace_row(self.0, &row).await?;
        }
        Ok(())
    }
}

struct SetExpiration {
    export: DocumentId,
    expires_ns: u64,
}

#[async_trait]
impl Work for SetExpiration {
    type Output = ();

    async fn run(&self, transaction: &mut Transaction) -> Transacted<()> {
        let row = export_row(transaction, self.export).await?;
        let ExportState::Completed { start, complete_ns, size_bytes, .. } = row.state else {
            return Err(export_not_found().into());
        };
        let state = ExportState::Completed { start, complete_ns, expires_ns: self.expires_ns, size_bytes };
        Ok(transaction.replace_row(self.export, &ExportRow { state, ..row }).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(format: &str, mode: &str, table: Option<&str>) -> Result<ImportOrder> {
        let (format, mode, table) = (format.to_owned(), mode.to_owned(), table.map(str::to_owned));
        order_of(NewImport { format, mode, table, component: String::new() })
    }

    #[test]
    fn what_no_import_can_be_is_refused() {
        assert!(order("zip", "replaceAll", None).is_ok());
        assert!(order("csv", "append", Some("messages")).is_ok());
        for (format, mode, table) in [
            ("zip", "append", Some("messages")),
            ("csv", "append", None),
            ("jsonLines", "append", Some("_storage")),
            ("jsonLines", "append", Some("a-b")),
            ("xml", "append", Some("messages")),
            ("jsonArray", "merge", Some("messages")),
        ] {
            let error = order(format, mode, table).expect_err(format);
            assert_eq!(error.code, "InvalidImport", "{format} {mode} {table:?}");
        }
    }
}
