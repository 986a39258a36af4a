//! Jobs as an app declares them, and what a push changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{CronError, Schedule, limits::ARGUMENTS_JSON_BYTES_MAX};

/// A job of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct CronSpec {
    /// Names it among the app's jobs.
    pub name: String,
    /// What runs, as the client library names it: `messages:send`. Whether it exists is not known here.
    pub function: String,
    /// An array of one object of encoded Convex values. Whether they are values is not known here.
    pub arguments: Value,
    /// When it runs.
    pub schedule: Schedule,
    /// The schedule as the app wrote it.
    pub schedule_json: Value,
}

/// A job that can't be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSpec {
    /// The job's name.
    pub name: String,
    /// Why.
    pub error: CronError,
}

/// Reads an app's jobs: pairs of a name and a job `{"name", "args", "schedule"}`, as the analysis of `crons.js` has them.
///
/// # Errors
/// The first job that can't be taken.
pub fn read_specs(pairs: &[(String, Value)]) -> Result<Vec<CronSpec>, RefusedSpec> {
    let mut specs: Vec<CronSpec> = Vec::with_capacity(pairs.len());
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for (name, json) in pairs {
        let is_new = names.insert(name);
        let spec = if is_new { CronSpec::from_json(name, json) } else { Err(CronError::NameNotUnique) };
        specs.push(spec.map_err(|error| RefusedSpec { name: name.clone(), error })?);
    }
    Ok(specs)
}

impl CronSpec {
    /// Reads one job.
    ///
    /// # Errors
    /// See [`CronError`].
    pub fn from_json(name: &str, json: &Value) -> Result<CronSpec, CronError> {
        if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(CronError::InvalidName);
        }
        let function = json.get("name").and_then(Value::as_str).filter(|function| !function.is_empty());
        let function = function.ok_or_else(|| invalid("it names no function"))?;
        let arguments = json.get("args").ok_or_else(|| invalid("it has no `args`"))?;
        let is_one_object = arguments.as_array().is_some_and(|list| matches!(&list[..], [Value::Object(_)]));
        if !is_one_object {
            return Err(invalid("`args` must be an array of one object"));
        }
        let bytes = arguments.to_string().len();
        if bytes > ARGUMENTS_JSON_BYTES_MAX {
            return Err(CronError::ArgumentsTooLarge { bytes });
        }
        let schedule = json.get("schedule").ok_or_else(|| invalid("it has no `schedule`"))?;
        Ok(CronSpec {
            name: name.to_owned(),
            function: function.to_owned(),
            arguments: arguments.clone(),
            schedule: Schedule::from_json(schedule)?,
            schedule_json: schedule.clone(),
        })
    }
}

fn invalid(reason: &str) -> CronError {
    CronError::InvalidSpec { reason: reason.to_owned() }
}

/// What a push does to an app's jobs. A job whose schedule says the same as before keeps its next run, even if it is updated.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Changes<'s> {
    /// Jobs with a new name.
    pub added: Vec<&'s CronSpec>,
    /// Jobs of which anything is different: as they were, and as they will be.
    pub updated: Vec<(&'s CronSpec, &'s CronSpec)>,
    /// Jobs whose name is no longer there.
    pub deleted: Vec<&'s CronSpec>,
}

/// Compares the deployed jobs with those of a push.
pub fn compare<'s>(deployed: &'s [CronSpec], pushed: &'s [CronSpec]) -> Changes<'s> {
    let mut before: BTreeMap<&str, &CronSpec> =
        deployed.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let mut changes = Changes::default();
    for spec in pushed {
        match before.remove(spec.name.as_str()) {
            None => changes.added.push(spec),
            Some(old) if old != spec => changes.updated.push((old, spec)),
            Some(_) => {}
        }
    }
    changes.deleted = before.into_values().collect();
    changes
}
