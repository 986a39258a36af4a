//! The cron jobs that the code of a push declares.

use std::{collections::BTreeMap, sync::Arc};

use contract::{Error, Result};
use cron::{CronSpec, read_specs};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value as Json;
use transaction::CronJobRow;
use value::{ComponentId, FunctionPath, Value};

/// The one module whose default export schedules something.
const CRONS_MODULE: &str = "crons.js";

/// Reads and checks them; they are said to be the app's. `analyses` is what evaluating showed of each module, by path.
pub(crate) fn declared(analyses: &BTreeMap<String, Arc<str>>) -> Result<Vec<CronJobRow>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Module {
        /// Pairs of a job's name and the job.
        cron_specs: Option<Vec<(String, Json)>>,
    }
    let module: Option<Module> = analysis(analyses, CRONS_MODULE)?;
    let pairs = module.and_then(|module| module.cron_specs).unwrap_or_default();
    let specs = read_specs(&pairs)
        .map_err(|refused| refusal(refused.error.code(), &refused.name, &refused.error.to_string()))?;
    specs.into_iter().map(|spec| checked(spec, analyses)).collect()
}

fn checked(spec: CronSpec, analyses: &BTreeMap<String, Arc<str>>) -> Result<CronJobRow> {
    #[derive(Deserialize)]
    struct Module {
        functions: Vec<Function>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Function {
        name: String,
        udf_type: String,
    }
    let name = spec.name.clone();
    let invalid = |reason: &str| refusal("InvalidCronSpec", &name, reason);
    if let Err(error) = Value::from_json(&spec.arguments.to_string()) {
        return Err(invalid(&format!("its arguments are not valid: {error}")));
    }
    let path: FunctionPath =
        spec.function.parse().map_err(|_| invalid(&format!("`{}` names no function", spec.function)))?;
    let module: Option<Module> = analysis(analyses, &path.module.with_extension())?;
    let functions = module.map(|module| module.functions).unwrap_or_default();
    match functions.iter().find(|function| function.name == path.export.as_str()) {
        Some(function) if ["Mutation", "Action"].contains(&function.udf_type.as_str()) => {}
        Some(_) => {
            return Err(invalid(&format!(
                "`{path}` is a query; only mutations and actions can be scheduled"
            )));
        }
        None => return Err(invalid(&format!("there is no function `{path}`"))),
    }
    CronJobRow::new(ComponentId::ROOT, spec).map_err(|error| invalid(&error.to_string()))
}

fn refusal(code: &'static str, name: &str, reason: &str) -> Error {
    Error::bad_request(code, format!("`{CRONS_MODULE}` (default export): the cron job `{name}`: {reason}."))
}

fn analysis<T: DeserializeOwned>(analyses: &BTreeMap<String, Arc<str>>, path: &str) -> Result<Option<T>> {
    let parsed = analyses.get(path).map(|analysis| serde_json::from_str(analysis)).transpose();
    parsed.map_err(|error| Error::internal(format!("the analysis of {path} can't be read: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared_by(jobs: Json) -> Result<Vec<CronJobRow>> {
        let functions = json!([
            {"name": "send", "udfType": "Mutation"},
            {"name": "list", "udfType": "Query"},
            {"name": "fetch", "udfType": "Action"},
        ]);
        let analyses = [
            ("messages.js", json!({"functions": functions, "cronSpecs": null})),
            ("crons.js", json!({"functions": [], "cronSpecs": jobs})),
        ];
        declared(&analyses.map(|(path, analysis)| (path.to_owned(), analysis.to_string().into())).into())
    }

    fn job(function: &str) -> Json {
        json!({"name": function, "args": [{}], "schedule": {"type": "interval", "minutes": 1}})
    }

    #[test]
    fn jobs_run_mutations_and_actions_that_are_there() {
        let jobs =
            declared_by(json!([["one", job("messages:send")], ["two", job("messages:fetch")]])).unwrap();
        assert_eq!(
            jobs.iter().map(|job| job.function().to_string()).collect::<Vec<_>>(),
            ["messages:send", "messages:fetch"]
        );
        assert_eq!(declared_by(Json::Null), Ok(Vec::new()));
        assert_eq!(declared(&BTreeMap::new()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_refused_is_named_with_its_file() {
        let cron = |expression: &str| {
            let mut job = job("messages:send");
            job["schedule"] = json!({"type": "cron", "cron": expression});
            job
        };
        let mut not_a_value = job("messages:send");
        not_a_value["args"] = json!([{"n": {"$integer": "?"}}]);
        for (code, job, reason) in [
            ("InvalidCronSpec", job("messages:list"), "`messages:list` is a query"),
            ("InvalidCronSpec", job("messages:nope"), "there is no function `messages:nope`"),
            ("InvalidCronSpec", job("nowhere:send"), "there is no function `nowhere:send`"),
            ("InvalidCronSpec", job("a b"), "`a b` names no function"),
            ("InvalidCronSpec", not_a_value, "its arguments are not valid"),
            ("InvalidCronExpression", cron("61 * * * *"), "the cron expression `61 * * * *` is not valid"),
            ("CronNeverRuns", cron("0 0 31 2 *"), "never runs"),
        ] {
            let error =
                declared_by(json!([["fine", self::job("messages:send")], ["tidy up", job]])).unwrap_err();
            assert_eq!(error.code, code);
            assert!(
                error.message.starts_with("`crons.js` (default export): the cron job `tidy up`: "),
                "{error}"
            );
            assert!(error.message.contains(reason), "{error}");
        }
    }
}
