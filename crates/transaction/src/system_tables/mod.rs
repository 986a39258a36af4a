//! The tables of the system. They are tables like all others, but their definitions are code: numbers, internal ids
//! and indexes are the same in every deployment and need no rows of their own.

mod archive_rows;
mod component_rows;
mod cron_rows;
mod directory_rows;
mod history_rows;
mod log_stream_rows;
mod pause_rows;
mod rows;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use contract::IndexId;
use value::{ComponentId, InternalId, TableName, TableNumber};

use crate::catalog::{Index, IndexState, Table, TableState};

pub use archive_rows::{
    Claim, ExportRow, ExportState, ImportFormat, ImportMode, ImportOrder, ImportRow, ImportState,
    ImportTable, ImportTableRow,
};
pub use component_rows::{ComponentRow, VariableBinding};
pub use cron_rows::{CronJobRow, CronNextRunRow, CronOutcome, CronRunRow};
pub use directory_rows::{DeployKeyRow, DeployKeyScope, DeploymentRow, DeploymentState, DirectoryRow};
pub use history_rows::{ChangeHistoryRow, DataSyncRow, HistoryStateRow};
pub use log_stream_rows::{AuditLogRow, LogStreamRow, LogStreamState};
pub use pause_rows::PauseRow;
pub use rows::{
    AuthRow, DueKind, DueRow, EnvironmentVariableRow, FileObjectRow, FileRow, FileState, Holder, IndexRow,
    JobState, LeaseRow, ModuleEnvironment, ModuleRow, NodeConfig, ScheduledJobRow, SchemaFailure, SchemaRow,
    SchemaState, SessionRequestRow, Stored, SystemRow, TableRow, UdfConfigRow,
};

/// A system table, by the part of its number above 512. The numbers are those that existing ids and tools know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum SystemTable {
    /// The application's tables ([`TableRow`]).
    Tables = 1,
    /// Their indexes ([`IndexRow`]).
    Indexes = 2,
    /// Its one document is written by every commit that changes what a [`crate::Catalog`] holds; the commit that wrote
    /// it last names the catalog.
    Metadata = 3,
    /// Exports, those too that are over ([`ExportRow`]).
    Exports = 4,
    /// What pushed code needs besides its modules ([`UdfConfigRow`]).
    UdfConfig = 6,
    /// The deployment's auth providers ([`AuthRow`]).
    Auth = 7,
    /// Pushed modules ([`ModuleRow`]).
    Modules = 9,
    /// What `process.env` holds ([`EnvironmentVariableRow`]).
    EnvironmentVariables = 13,
    /// Clients' requests that have taken effect ([`SessionRequestRow`]).
    SessionRequests = 17,
    /// The cron jobs of the pushed code ([`CronJobRow`]).
    CronJobs = 19,
    /// Schemas, deployed and pushed ([`SchemaRow`]).
    Schemas = 20,
    /// The last runs of each cron job ([`CronRunRow`]).
    CronJobLogs = 21,
    /// What runs when ([`DueRow`]): one row for each thing that is still to run, in a table of its own because it is a
    /// queue. The internal id of a row is that of the document that says what runs.
    DueRuns = 26,
    /// What `_scheduled_functions` shows ([`ScheduledJobRow`]).
    ScheduledJobs = 27,
    /// What `_storage` shows ([`FileRow`]).
    FileStorage = 28,
    /// Imports, those too that are over ([`ImportRow`]).
    SnapshotImports = 29,
    /// What imports that are under way fill ([`ImportTableRow`]).
    ImportTables = 96,
    /// The instances of components ([`ComponentRow`]), those included that are not mounted any more; the internal id of a row is
    /// the instance's.
    Components = 32,
    /// When cron jobs ran and will run ([`CronNextRunRow`]); the internal id of a row is that of its job.
    CronNextRun = 35,
    /// The objects that hold the bytes of files ([`FileObjectRow`]), those too that no file has yet, or has any more.
    FileObjects = 42,
    /// What the directory as a whole remembers ([`DirectoryRow`]). Only the directory's own deployment has rows in this table
    /// and the two that follow.
    Directory = 70,
    /// The deployments of the cluster ([`DeploymentRow`]).
    Deployments = 71,
    /// Keys that somebody has made ([`DeployKeyRow`]).
    DeployKeys = 72,
    /// Whether the changes of documents are noted ([`ChangeHistoryRow`]): it has a row, or none.
    ChangeHistory = 90,
    /// How far back the notes reach, and when they were asked for ([`HistoryStateRow`]).
    HistoryStates = 91,
    /// Who follows a deployment's data ([`DataSyncRow`]).
    DataSyncs = 92,
    /// Where a deployment's owner wants to be told what happens ([`LogStreamRow`]).
    LogStreams = 93,
    /// What was changed of a deployment ([`AuditLogRow`]).
    AuditLog = 94,
    /// Whether the deployment is paused ([`PauseRow`]): it has a row, or none.
    BackendState = 95,
    /// That processes are there which have claimed something of [`SystemTable::DueRuns`] ([`LeaseRow`]); the internal id of a row is
    /// the boot of its process.
    ClaimLeases = 73,
}

/// The index of [`SystemTable::DueRuns`] by the time.
pub const DUE_INDEX: &str = "by_due";
/// The index of [`SystemTable::CronJobs`] by component and name.
pub const CRON_JOBS_INDEX: &str = "by_component_and_name";
/// The index of [`SystemTable::CronJobLogs`] by component, name and time.
pub const CRON_RUNS_INDEX: &str = "by_component_name_and_ts";
/// The index of the tables that applications see, by component: those of a component are neighbours.
pub(crate) const COMPONENT_INDEX: &str = "by_component";

/// Numbers up to here were given out by older systems; the numbers of system tables lie above.
const RESERVED_NUMBERS: u32 = 512;

/// The names by which applications may read two of the tables, through `db.system`.
pub(crate) const VIRTUAL_TABLES: [(&str, SystemTable); 2] =
    [("_storage", SystemTable::FileStorage), ("_scheduled_functions", SystemTable::ScheduledJobs)];

impl SystemTable {
    /// All of them.
    pub const ALL: [SystemTable; 30] = [
        SystemTable::Tables,
        SystemTable::Indexes,
        SystemTable::Metadata,
        SystemTable::Exports,
        SystemTable::UdfConfig,
        SystemTable::Auth,
        SystemTable::Modules,
        SystemTable::EnvironmentVariables,
        SystemTable::SessionRequests,
        SystemTable::CronJobs,
        SystemTable::Schemas,
        SystemTable::CronJobLogs,
        SystemTable::DueRuns,
        SystemTable::ScheduledJobs,
        SystemTable::FileStorage,
        SystemTable::SnapshotImports,
        SystemTable::ImportTables,
        SystemTable::Components,
        SystemTable::CronNextRun,
        SystemTable::FileObjects,
        SystemTable::Directory,
        SystemTable::Deployments,
        SystemTable::DeployKeys,
        SystemTable::ClaimLeases,
        SystemTable::ChangeHistory,
        SystemTable::HistoryStates,
        SystemTable::DataSyncs,
        SystemTable::LogStreams,
        SystemTable::AuditLog,
        SystemTable::BackendState,
    ];

    /// Begins with an underscore, as no table of the application does.
    pub const fn name(self) -> &'static str {
        match self {
            SystemTable::Tables => "_tables",
            SystemTable::Indexes => "_index",
            SystemTable::Metadata => "_metadata",
            SystemTable::Exports => "_exports",
            SystemTable::UdfConfig => "_udf_config",
            SystemTable::Auth => "_auth",
            SystemTable::Modules => "_modules",
            SystemTable::EnvironmentVariables => "_environment_variables",
            SystemTable::SessionRequests => "_session_requests",
            SystemTable::CronJobs => "_cron_jobs",
            SystemTable::Schemas => "_schemas",
            SystemTable::CronJobLogs => "_cron_job_logs",
            SystemTable::DueRuns => "_due_runs",
            SystemTable::ScheduledJobs => "_scheduled_jobs",
            SystemTable::FileStorage => "_file_storage",
            SystemTable::SnapshotImports => "_snapshot_imports",
            SystemTable::ImportTables => "_import_tables",
            SystemTable::Components => "_components",
            SystemTable::CronNextRun => "_cron_next_run",
            SystemTable::FileObjects => "_file_objects",
            SystemTable::Directory => "_directory",
            SystemTable::Deployments => "_deployments",
            SystemTable::DeployKeys => "_deploy_keys",
            SystemTable::ClaimLeases => "_claim_leases",
            SystemTable::ChangeHistory => "_change_history",
            SystemTable::HistoryStates => "_history_states",
            SystemTable::DataSyncs => "_data_syncs",
            SystemTable::LogStreams => "_log_sinks",
            SystemTable::AuditLog => "_deployment_audit_log",
            SystemTable::BackendState => "_backend_state",
        }
    }

    /// The number that ids of its documents carry.
    pub const fn number(self) -> TableNumber {
        match TableNumber::new(RESERVED_NUMBERS + self as u32) {
            Some(number) => number,
            None => unreachable!(),
        }
    }

    /// The indexes besides `by_id` and `by_creation_time`, with their fields as the application would declare them.
    const fn indexes(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            SystemTable::Tables => &[
                ("by_component_and_name", &["component", "name"]),
                ("by_component_and_number", &["component", "number"]),
            ],
            SystemTable::Indexes => &[("by_table_and_name", &["table", "name"])],
            SystemTable::Modules => &[("by_component_and_path", &["component", "path"])],
            SystemTable::EnvironmentVariables => &[("by_component_and_name", &["component", "name"])],
            SystemTable::SessionRequests => &[("by_session_and_request", &["session", "request"])],
            SystemTable::CronJobs => &[(CRON_JOBS_INDEX, &["component", "name"])],
            SystemTable::CronJobLogs => &[(CRON_RUNS_INDEX, &["component", "name", "ts"])],
            SystemTable::Schemas => &[("by_component_and_state", &["component", "state"])],
            SystemTable::UdfConfig => &[("by_component", &["component"])],
            SystemTable::FileObjects => &[
                ("by_component_and_uuid", &["component", "uuid"]),
                ("by_file", &["file"]),
                ("by_state_and_since", &["state", "since"]),
            ],
            SystemTable::ImportTables => &[("by_import_and_place", &["import", "place"])],
            SystemTable::DueRuns => &[(DUE_INDEX, &["due"])],
            SystemTable::ScheduledJobs => {
                &[(COMPONENT_INDEX, &["component"]), ("by_completed_time", &["completedTime"])]
            }
            SystemTable::Deployments => &[
                ("by_name", &["name"]),
                ("by_number", &["number"]),
                ("by_project_and_identifier", &["project", "identifier"]),
            ],
            SystemTable::DeployKeys => &[("by_owner", &["scope", "of", "name"])],
            SystemTable::FileStorage => &[(COMPONENT_INDEX, &["component"])],
            SystemTable::Metadata
            | SystemTable::Exports
            | SystemTable::Auth
            | SystemTable::SnapshotImports
            | SystemTable::Components
            | SystemTable::CronNextRun
            | SystemTable::Directory
            | SystemTable::ClaimLeases
            | SystemTable::ChangeHistory
            | SystemTable::HistoryStates
            | SystemTable::LogStreams
            | SystemTable::BackendState => &[],
            SystemTable::AuditLog => &[("by_time", &["timeMs"])],
            SystemTable::DataSyncs => &[("by_updated", &["updatedMs"])],
        }
    }

    /// Whether a [`crate::Catalog`] is made of this table's rows, so that a change of them is a new catalog.
    pub(crate) const fn is_metadata(self) -> bool {
        matches!(
            self,
            SystemTable::Tables
                | SystemTable::Indexes
                | SystemTable::Schemas
                | SystemTable::Modules
                | SystemTable::EnvironmentVariables
                | SystemTable::UdfConfig
                | SystemTable::Auth
                | SystemTable::ChangeHistory
                | SystemTable::BackendState
                | SystemTable::Components
        )
    }

    /// The definition.
    pub fn table(self) -> &'static Arc<Table> {
        &DEFINITIONS.by_system_table[&self]
    }

    /// The index of this name over this table. The names are those in the code, so it is there.
    pub(crate) fn index(self, name: &str) -> &'static Arc<Index> {
        self.table().index(name).expect("the code names only indexes that it defines")
    }

    pub(crate) fn by_number(number: TableNumber) -> Option<SystemTable> {
        SystemTable::ALL.into_iter().find(|table| table.number() == number)
    }

    /// Whether applications may read a table of this name, if there is one: all but the system's own.
    pub fn may_be_read(name: &TableName) -> bool {
        !name.is_system() || VIRTUAL_TABLES.iter().any(|(shown, _)| *shown == name.as_str())
    }

    /// By its own name, or by the name under which applications see it.
    pub(crate) fn by_name(name: &str) -> Option<SystemTable> {
        let shown = VIRTUAL_TABLES.iter().find(|(shown, _)| *shown == name).map(|(_, table)| *table);
        shown.or_else(|| SystemTable::ALL.into_iter().find(|table| table.name() == name))
    }

    /// The name under which applications may read it; `None` for those that are the system's alone.
    pub(crate) fn visible_name(self) -> Option<&'static str> {
        VIRTUAL_TABLES.iter().find(|(_, table)| *table == self).map(|(shown, _)| *shown)
    }
}

/// The internal id of a system table, or of one of its indexes: the table's number and a position. Ids that are made
/// at run time are random in these places.
const fn static_id(table: SystemTable, position: u8) -> [u8; 16] {
    let mut id = [0; 16];
    let number = table.number().get().to_be_bytes();
    id[8] = number[0];
    id[9] = number[1];
    id[10] = number[2];
    id[11] = number[3];
    id[15] = position;
    id
}

/// The internal id of the one document of [`SystemTable::Metadata`].
pub(crate) const METADATA_DOCUMENT: InternalId = InternalId::from_bytes([0; 16]);

struct Definitions {
    by_system_table: HashMap<SystemTable, Arc<Table>>,
}

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| Definitions {
    by_system_table: SystemTable::ALL.into_iter().map(|table| (table, Arc::new(definition(table)))).collect(),
});

fn definition(table: SystemTable) -> Table {
    let id = |position| IndexId(static_id(table, position));
    let mut definition = Table::new(
        ComponentId::ROOT,
        table.name().parse().expect("a legal name"),
        table.number(),
        TableState::Active,
        InternalId::from_bytes(static_id(table, 0)),
        id(1),
        id(2),
    );
    for (position, (name, fields)) in (3..).zip(table.indexes()) {
        let name = name.parse().expect("a legal name");
        let fields = fields.iter().map(|field| field.parse().expect("a legal path")).collect();
        definition.indexes.push(Arc::new(Index::new(id(position), name, fields, IndexState::Enabled, false)));
    }
    definition
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_tables_and_indexes_have_ids_of_their_own() {
        let mut ids = HashSet::new();
        for table in SystemTable::ALL.map(SystemTable::table) {
            assert!(ids.insert(table.tablet.as_bytes().to_vec()));
            assert!(ids.insert(table.by_id.id.0.to_vec()));
            assert!(table.indexes.iter().all(|index| ids.insert(index.id.0.to_vec())));
        }
        assert_eq!(ids.len(), 30 + 30 + 30 + 24);
    }

    #[test]
    fn the_visible_tables_have_the_numbers_that_their_ids_show() {
        assert_eq!(SystemTable::FileStorage.number(), TableNumber::FILE_STORAGE);
        assert_eq!(SystemTable::ScheduledJobs.number(), TableNumber::SCHEDULED_FUNCTIONS);
        assert_eq!(SystemTable::by_name("_storage"), Some(SystemTable::FileStorage));
        assert_eq!(SystemTable::by_name("_tables"), Some(SystemTable::Tables));
        assert_eq!(SystemTable::by_name("messages"), None);
    }
}
