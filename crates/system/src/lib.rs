//! The `_system` functions that the command line tool and the dashboard call.
//!
//! They are native code, but otherwise ordinary queries: each runs in a [`Transaction`], so that its result holds until a
//! commit touches what it has read, and can be subscribed to. Some of those for consoles are mutations. Only admins may call them;
//! whoever calls [`call`] has checked that.
//!
//! This crate knows nothing of JavaScript, HTTP or where results go.

mod archives;
mod arguments;
mod components;
mod crons;
mod deployment;
mod frontend;
mod tables;

use std::collections::BTreeMap;

use contract::{CLOUD_URL_VARIABLE, FunctionKind};
use transaction::{Error, Result, Transaction};
use value::{FunctionPath, Value};

use arguments::{Arguments, wrong};

/// What the functions tell about the deployment and the catalog does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The environment variables that every deployment has, whatever its own are.
    pub variables: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SystemFunction {
    ApiSpec,
    CloudUrl,
    Components,
    CronJobs,
    CronRuns,
    EnvironmentVariable,
    EnvironmentVariables,
    Frontend(frontend::Function),
    Import,
    Imports,
    LatestExport,
    TableData,
    TableSize,
    Tables,
    WatchTable,
}

/// By canonical path. All of them are queries. Those that consoles alone call are in [`frontend`].
const FUNCTIONS: [(&str, SystemFunction); 14] = [
    ("_system/cli/convexUrl:cloudUrl", SystemFunction::CloudUrl),
    ("_system/cli/exports:getLatest", SystemFunction::LatestExport),
    ("_system/cli/modules:apiSpec", SystemFunction::ApiSpec),
    ("_system/cli/queryEnvironmentVariables:default", SystemFunction::EnvironmentVariables),
    ("_system/cli/queryEnvironmentVariables:get", SystemFunction::EnvironmentVariable),
    ("_system/cli/queryImport:default", SystemFunction::Import),
    ("_system/cli/queryImport:list", SystemFunction::Imports),
    ("_system/cli/queryTable:default", SystemFunction::WatchTable),
    ("_system/cli/tableData:default", SystemFunction::TableData),
    ("_system/cli/tableSize:default", SystemFunction::TableSize),
    ("_system/cli/tables:default", SystemFunction::Tables),
    ("_system/frontend/components:list", SystemFunction::Components),
    ("_system/frontend/listCronJobRuns:default", SystemFunction::CronRuns),
    ("_system/frontend/listCronJobs:default", SystemFunction::CronJobs),
];

fn function(path: &str) -> Option<SystemFunction> {
    let path = path.parse::<FunctionPath>().ok()?.to_string();
    let of_tools = FUNCTIONS.iter().find(|(known, _)| *known == path).map(|(_, function)| *function);
    of_tools.or_else(|| frontend::function(&path).map(SystemFunction::Frontend))
}

/// The kind of the function that a path names, in any of a path's spellings; `None` if it names none.
pub fn kind(path: &str) -> Option<FunctionKind> {
    function(path).map(|function| match function {
        SystemFunction::Frontend(function) => function.kind(),
        _ => FunctionKind::Query,
    })
}

/// Whether a path names one of the functions, in any of a path's spellings.
pub fn exists(path: &str) -> bool {
    function(path).is_some()
}

/// Why a path names none of the functions, as a sentence for whoever types commands; `None` if it names one.
pub fn why_missing(path: &str) -> Option<String> {
    if exists(path) {
        return None;
    }
    Some(format!("This version of Tidemark does not have the system function `{}`.", excerpt(path)))
}

fn excerpt(path: &str) -> String {
    path.chars().take(100).collect()
}

/// Runs the function that a path names; its result comes back as Convex JSON.
///
/// `arguments` is the object that the function takes, alone or as the one element of an array. Where its `componentId` names a
/// component, the function works there, otherwise in the transaction's. Fails with `FunctionNotFound`, with
/// `ArgumentValidationError` for wrong arguments, and as the transaction does.
pub async fn call(
    path: &str,
    arguments: &Value,
    transaction: &mut Transaction,
    environment: &Environment,
) -> Result<String> {
    let Some(function) = function(path) else {
        let message = why_missing(path).unwrap_or_default();
        return Err(Error::user("FunctionNotFound", message));
    };
    let arguments = Arguments::new(arguments)?;
    if let Some(component) = arguments.component()? {
        // Also one without tables or code is there, and one that is not may come: the answer holds until then.
        if !component.is_root() && transaction.instances().iter().all(|(id, _)| *id != component) {
            return Err(wrong("there is no component with this `componentId`"));
        }
        transaction.enter(component);
    }
    match function {
        SystemFunction::Frontend(function) => function.call(&arguments, transaction, environment).await,
        SystemFunction::CloudUrl => {
            Ok(Value::from(environment.variables.get(CLOUD_URL_VARIABLE).map(String::as_str)).to_json())
        }
        SystemFunction::Components => Ok(components::list(transaction)),
        SystemFunction::CronJobs => crons::jobs(transaction).await,
        SystemFunction::CronRuns => crons::runs(transaction).await,
        SystemFunction::ApiSpec => deployment::api_spec(transaction),
        SystemFunction::EnvironmentVariable => {
            deployment::environment_variable(transaction, environment, arguments.text("name")?)
        }
        SystemFunction::EnvironmentVariables => Ok(deployment::environment_variables(transaction)),
        SystemFunction::Import => archives::import(transaction, arguments.text("importId")?).await,
        SystemFunction::Imports => archives::imports(transaction).await,
        SystemFunction::LatestExport => archives::latest_export(transaction).await,
        SystemFunction::TableData => tables::table_data(transaction, &arguments).await,
        SystemFunction::TableSize => tables::table_size(transaction, arguments.text("tableName")?).await,
        SystemFunction::Tables => tables::tables(transaction, &arguments),
        SystemFunction::WatchTable => tables::watch_table(transaction, arguments.text("tableName")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_asks_for_what_is_not_served_gets_a_sentence() {
        assert_eq!(why_missing("_system/cli/tables"), None);
        assert_eq!(
            why_missing("_system/cli/nope").as_deref(),
            Some("This version of Tidemark does not have the system function `_system/cli/nope`.")
        );
    }

    #[test]
    fn a_function_is_known_by_every_spelling_of_its_path() {
        for path in [
            "_system/cli/tables",
            "_system/cli/tables:default",
            "_system/cli/tables.js",
            "_system/cli/tables.js:default",
            "_system/cli/modules:apiSpec",
        ] {
            assert!(exists(path), "{path}");
        }
        for path in ["", ":", "_system/cli/modules", "_system/cli", "messages:list", "_system/cli/tables:get"]
        {
            assert!(!exists(path), "{path}");
        }
        for (path, _) in FUNCTIONS {
            assert_eq!(
                path.parse::<FunctionPath>().unwrap().to_string(),
                path,
                "the list holds canonical paths"
            );
        }
    }
}
