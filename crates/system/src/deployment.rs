//! Functions about the pushed code and its environment.

use serde::Deserialize;
use transaction::{Error, Result, Transaction};
use value::{Object, Value, object};

use crate::Environment;

pub(crate) fn environment_variables(transaction: &mut Transaction) -> String {
    let variables = transaction.environment_variables();
    Value::Array(
        variables
            .iter()
            .map(|variable| Value::Object(shown(&variable.row.name, &variable.row.value)))
            .collect(),
    )
    .to_json()
}

/// The variable, or null. Those that every deployment has are shown too: by them the command line tool of some versions
/// learns the deployment's addresses.
pub(crate) fn environment_variable(
    transaction: &mut Transaction,
    environment: &Environment,
    name: &str,
) -> Result<String> {
    let variable = match environment.variables.get(name) {
        Some(value) => Some(shown(name, value)),
        None => transaction
            .environment_variable(name)
            .map(|variable| shown(&variable.row.name, &variable.row.value)),
    };
    Ok(Value::from(variable).to_json())
}

fn shown(name: &str, value: &str) -> Object {
    object! { "name" => name, "value" => value }
}

/// What evaluating a module showed, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Analysis {
    functions: Vec<AnalyzedFunction>,
    http_routes: Option<Vec<AnalyzedRoute>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnalyzedFunction {
    name: String,
    udf_type: String,
    visibility: Option<Visibility>,
    /// Validators, as JSON within a string.
    args: Option<String>,
    returns: Option<String>,
}

#[derive(Deserialize)]
struct Visibility {
    kind: String,
}

#[derive(Deserialize)]
struct AnalyzedRoute {
    route: Route,
}

#[derive(Deserialize)]
struct Route {
    path: String,
    method: String,
}

/// Every function that the pushed code has, with its validators, and every route of its HTTP actions.
pub(crate) fn api_spec(transaction: &mut Transaction) -> Result<String> {
    let mut spec = Vec::new();
    for module in transaction.modules() {
        let Some(analysis) = &module.row.analysis else { continue };
        let analysis: Analysis =
            serde_json::from_str(analysis).map_err(|error| stored(&module.row.path, error))?;
        for function in analysis.functions {
            let validator = |json: Option<&str>| match json {
                // An export without validators takes and returns anything; so says a literal `null`.
                None | Some("null") => Ok(Value::Object(object! { "type" => "any" })),
                Some(json) => Value::from_json(json).map_err(|error| stored(&module.row.path, error)),
            };
            spec.push(Value::Object(object! {
                "functionType" => function.udf_type,
                "identifier" => format!("{}:{}", module.row.path, function.name),
                "args" => validator(function.args.as_deref())?,
                "returns" => validator(function.returns.as_deref())?,
                "visibility" => object! {
                    "kind" => function.visibility.map_or("public".to_owned(), |visibility| visibility.kind),
                },
            }));
        }
        for AnalyzedRoute { route } in analysis.http_routes.unwrap_or_default() {
            spec.push(Value::Object(object! {
                "functionType" => "HttpAction",
                "method" => route.method,
                "path" => route.path,
            }));
        }
    }
    Ok(Value::Array(spec).to_json())
}

fn stored(path: &str, error: impl std::fmt::Display) -> Error {
    Error::Service(contract::Error::internal(format!("the analysis of module {path} can't be read: {error}")))
}
