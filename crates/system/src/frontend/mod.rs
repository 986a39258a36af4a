//! The functions by which consoles show and change a deployment. Those that change something are mutations.

mod code;
mod documents;
mod files;
mod pause;
mod schedules;
mod tables;

use contract::FunctionKind;
use transaction::{Result, Transaction};

use crate::{Environment, arguments::Arguments};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    AddDocuments,
    ClearTablePage,
    CreateTable,
    DeleteDocuments,
    DeleteFiles,
    DeploymentState,
    Documents,
    FileMetadata,
    GenerateUploadUrl,
    GetDocument,
    HttpPrefix,
    Indexes,
    PatchDocuments,
    Pause,
    ReplaceDocument,
    Resume,
    Schemas,
    TableSize,
    UpcomingJobs,
    Version,
}

/// By canonical path.
const FUNCTIONS: [(&str, Function); 20] = [
    ("_system/frontend/addDocument:default", Function::AddDocuments),
    ("_system/frontend/clearTablePage:default", Function::ClearTablePage),
    ("_system/frontend/createTable:default", Function::CreateTable),
    ("_system/frontend/deleteDocuments:default", Function::DeleteDocuments),
    ("_system/frontend/deploymentState:default", Function::DeploymentState),
    ("_system/frontend/deploymentState:pause", Function::Pause),
    ("_system/frontend/deploymentState:resume", Function::Resume),
    ("_system/frontend/fileStorageV2:deleteFiles", Function::DeleteFiles),
    ("_system/frontend/fileStorageV2:fileMetadata", Function::FileMetadata),
    ("_system/frontend/fileStorageV2:generateUploadUrl", Function::GenerateUploadUrl),
    ("_system/frontend/getById:default", Function::GetDocument),
    ("_system/frontend/getSchemas:default", Function::Schemas),
    ("_system/frontend/getVersion:default", Function::Version),
    ("_system/frontend/httpPrefix:default", Function::HttpPrefix),
    ("_system/frontend/indexes:default", Function::Indexes),
    ("_system/frontend/paginatedTableDocuments:default", Function::Documents),
    ("_system/frontend/patchDocumentsFields:default", Function::PatchDocuments),
    ("_system/frontend/replaceDocument:default", Function::ReplaceDocument),
    ("_system/frontend/scheduler:upcomingJobs", Function::UpcomingJobs),
    ("_system/frontend/tableSize:upTo", Function::TableSize),
];

/// The function of this canonical path.
pub(crate) fn function(path: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|(known, _)| *known == path).map(|(_, function)| *function)
}

impl Function {
    pub(crate) fn kind(self) -> FunctionKind {
        use Function::*;
        match self {
            DeploymentState | Documents | FileMetadata | GetDocument | HttpPrefix | Indexes | Schemas
            | TableSize | UpcomingJobs | Version => FunctionKind::Query,
            AddDocuments | ClearTablePage | CreateTable | DeleteDocuments | DeleteFiles
            | GenerateUploadUrl | PatchDocuments | Pause | ReplaceDocument | Resume => FunctionKind::Mutation,
        }
    }

    pub(crate) async fn call(
        self,
        arguments: &Arguments<'_>,
        transaction: &mut Transaction,
        environment: &Environment,
    ) -> Result<String> {
        match self {
            Function::AddDocuments => documents::add(transaction, arguments).await,
            Function::ClearTablePage => documents::clear_page(transaction, arguments).await,
            Function::CreateTable => tables::create(transaction, arguments).await,
            Function::DeleteDocuments => documents::delete(transaction, arguments).await,
            Function::DeleteFiles => files::delete(transaction, arguments).await,
            Function::DeploymentState => Ok(pause::state(transaction)),
            Function::Documents => documents::page(transaction, arguments).await,
            Function::FileMetadata => files::page(transaction, arguments, environment).await,
            Function::GenerateUploadUrl => files::upload_url(transaction, environment),
            Function::GetDocument => documents::get(transaction, arguments).await,
            Function::HttpPrefix => Ok(code::http_prefix(transaction)),
            Function::Indexes => tables::indexes(transaction, arguments).await,
            Function::PatchDocuments => documents::patch(transaction, arguments).await,
            Function::Pause => Ok(transaction.pause().await?.to_string()),
            Function::ReplaceDocument => documents::replace(transaction, arguments).await,
            Function::Resume => Ok(transaction.resume().await?.to_string()),
            Function::Schemas => tables::schemas(transaction).await,
            Function::TableSize => tables::size_up_to(transaction, arguments).await,
            Function::UpcomingJobs => schedules::upcoming(transaction, arguments).await,
            Function::Version => Ok(code::version(transaction)),
        }
    }
}
