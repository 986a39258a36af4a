//! The `_system` functions that the command line tool and the dashboard call.
//!
//! They are native code, but otherwise ordinary queries: each runs in a [`Transaction`], so that its result holds until a
//! commit touches what it has read, and can be subscribed to. Only admins may call them; whoever calls [`call`] has
//! checked that.
//!
//! This crate knows nothing of JavaScript, HTTP or where results go.

mod arguments;
mod deployment;
mod tables;

use transaction::{Error, Result, Transaction};
use value::{FunctionPath, Value};

use arguments::Arguments;

/// What the functions tell about the deployment and the catalog does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Where clients reach the deployment: `http://127.0.0.1:3210`.
    pub cloud_url: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SystemFunction {
    ApiSpec,
    CloudUrl,
    EnvironmentVariable,
    EnvironmentVariables,
    TableData,
    TableSize,
    Tables,
    WatchTable,
}

/// By canonical path. All of them are queries.
const FUNCTIONS: [(&str, SystemFunction); 8] = [
    ("_system/cli/convexUrl:cloudUrl", SystemFunction::CloudUrl),
    ("_system/cli/modules:apiSpec", SystemFunction::ApiSpec),
    ("_system/cli/queryEnvironmentVariables:default", SystemFunction::EnvironmentVariables),
    ("_system/cli/queryEnvironmentVariables:get", SystemFunction::EnvironmentVariable),
    ("_system/cli/queryTable:default", SystemFunction::WatchTable),
    ("_system/cli/tableData:default", SystemFunction::TableData),
    ("_system/cli/tableSize:default", SystemFunction::TableSize),
    ("_system/cli/tables:default", SystemFunction::Tables),
];

fn function(path: &str) -> Option<SystemFunction> {
    let path = path.parse::<FunctionPath>().ok()?.to_string();
    FUNCTIONS.iter().find(|(known, _)| *known == path).map(|(_, function)| *function)
}

/// Whether a path names one of the functions, in any of a path's spellings.
pub fn exists(path: &str) -> bool {
    function(path).is_some()
}

/// Runs the function that a path names; its result comes back as Convex JSON.
///
/// `arguments` is the object that the function takes, alone or as the one element of an array. Fails with
/// `FunctionNotFound`, with `ArgumentValidationError` for wrong arguments, and as the transaction does.
pub async fn call(
    path: &str,
    arguments: &Value,
    transaction: &mut Transaction,
    environment: &Environment,
) -> Result<String> {
    let Some(function) = function(path) else {
        let shown: String = path.chars().take(100).collect();
        return Err(Error::user("FunctionNotFound", format!("Could not find function {shown:?}")));
    };
    let arguments = Arguments::new(arguments)?;
    match function {
        SystemFunction::CloudUrl => Ok(Value::from(environment.cloud_url.as_str()).to_json()),
        SystemFunction::ApiSpec => deployment::api_spec(transaction),
        SystemFunction::EnvironmentVariable => {
            deployment::environment_variable(transaction, arguments.text("name")?)
        }
        SystemFunction::EnvironmentVariables => Ok(deployment::environment_variables(transaction)),
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
