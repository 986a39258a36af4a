//! The rows about cron jobs. Times are Int64 and nanoseconds, as the tools that show them expect.

use cron::{CronSpec, UnixMs};
use serde_json::{Map, Number, Value as Json};
use value::{ComponentId, DocumentId, FunctionPath, Object, Value, ValueError, object};

use super::{
    SystemRow, SystemTable,
    rows::{Fields, texts},
};

/// A cron job of the pushed code.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJobRow {
    /// Whose job it is.
    pub component: ComponentId,
    function: FunctionPath,
    /// The function is named canonically.
    spec: CronSpec,
}

impl CronJobRow {
    /// The row of a job as the app declares it. Fails if it names no function as they are named.
    pub fn new(component: ComponentId, spec: CronSpec) -> Result<CronJobRow, ValueError> {
        let function: FunctionPath = spec.function.parse()?;
        let spec = CronSpec { function: function.to_string(), ..spec };
        Ok(CronJobRow { component, function, spec })
    }

    /// What runs.
    pub fn function(&self) -> &FunctionPath {
        &self.function
    }

    /// What is declared.
    pub fn spec(&self) -> &CronSpec {
        &self.spec
    }
}

/// When a cron job ran and will run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronNextRunRow {
    /// The job.
    pub job: DocumentId,
    /// Its last run was due then.
    pub previous: Option<UnixMs>,
    /// The run that comes next, or is under way. Its entry of the queue is later if it could not be run.
    pub next: UnixMs,
    /// Whether an action is under way for it. (A mutation's run is its commit, so nobody ever sees it running.)
    pub is_running: bool,
}

/// What came of a cron job's run.
#[derive(Clone, Debug, PartialEq)]
pub enum CronOutcome {
    /// It returned this.
    Success(Value),
    /// It returned what is too long, or too deep, to be kept; this is the beginning of its JSON.
    LongSuccess(String),
    /// It threw, or could not be run.
    Failed(String),
    /// So many runs were left out, because their time had passed when they could have begun.
    Canceled(u64),
}

/// A run of a cron job, as its log keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct CronRunRow {
    /// Whose job it was.
    pub component: ComponentId,
    /// The job's name.
    pub name: String,
    /// When the run was due.
    pub at: UnixMs,
    /// What ran.
    pub function: FunctionPath,
    /// With what: an array of one object of encoded Convex values.
    pub arguments: Json,
    /// What came of it.
    pub outcome: CronOutcome,
    /// What it printed.
    pub log_lines: Vec<String>,
    /// Whether it printed more.
    pub log_is_cut: bool,
    /// How long it took.
    pub execution_time_s: f64,
}

/// Later moments than a timestamp can tell are as good as never.
fn nanoseconds(moment: UnixMs) -> i64 {
    i64::try_from(moment.as_milliseconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

fn moment(fields: &Fields<'_>, name: &str) -> Result<UnixMs, String> {
    let milliseconds = u64::try_from(fields.integer(name)? / 1_000_000).ok();
    milliseconds.and_then(UnixMs::new).ok_or_else(|| format!("`{name}` is not a moment"))
}

fn arguments_value(arguments: &Json) -> Value {
    Value::Bytes(arguments.to_string().into_bytes())
}

fn arguments(fields: &Fields<'_>, name: &str) -> Result<Json, String> {
    let Value::Bytes(bytes) = fields.value(name)? else { return Err(format!("`{name}` is not bytes")) };
    serde_json::from_slice(bytes).map_err(|error| format!("`{name}`: {error}"))
}

/// A schedule as a value: its whole numbers are Int64, so that they come back as they were.
fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Int64(integer),
            None => Value::Float64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(members) => Value::Array(members.iter().map(to_value).collect()),
        Json::Object(members) => {
            let mut object = Object::new();
            for (name, member) in members {
                object.insert(name.as_str(), to_value(member));
            }
            Value::Object(object)
        }
    }
}

fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::Int64(integer) => Json::from(*integer),
        Value::Float64(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::from(text.as_str()),
        Value::Array(members) => Json::Array(members.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Object(object) => {
            let members = object.iter().map(|(name, member)| Ok((name.to_owned(), to_json(member)?)));
            Json::Object(members.collect::<Result<Map<_, _>, String>>()?)
        }
        other => return Err(format!("a schedule holds no {}", other.type_name())),
    })
}

impl SystemRow for CronJobRow {
    const TABLE: SystemTable = SystemTable::CronJobs;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let Value::Object(spec) = fields.value("cronSpec")? else {
            return Err("`cronSpec` is not an object".to_owned());
        };
        let in_spec = |error: String| format!("`cronSpec`: {error}");
        let spec = Fields(spec);
        let function: FunctionPath = spec.parse("udfPath").map_err(in_spec)?;
        let json = serde_json::json!({
            "name": function.to_string(),
            "args": arguments(&spec, "udfArgs").map_err(in_spec)?,
            "schedule": to_json(spec.value("cronSchedule").map_err(in_spec)?).map_err(in_spec)?,
        });
        let name = fields.text("name")?;
        let spec = CronSpec::from_json(name, &json).map_err(|error| in_spec(error.to_string()))?;
        Ok(CronJobRow { component: fields.parse("component")?, function, spec })
    }

    fn to_fields(&self) -> Object {
        object! {
            "component" => self.component.to_string(),
            "name" => self.spec.name.as_str(),
            "cronSpec" => object! {
                "udfPath" => self.function.with_extension(),
                "udfArgs" => arguments_value(&self.spec.arguments),
                "cronSchedule" => to_value(&self.spec.schedule_json),
            },
        }
    }
}

impl SystemRow for CronNextRunRow {
    const TABLE: SystemTable = SystemTable::CronNextRun;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let Value::Object(state) = fields.value("state")? else {
            return Err("`state` is not an object".to_owned());
        };
        let is_running = match Fields(state).text("type").map_err(|error| format!("`state`: {error}"))? {
            PENDING => false,
            IN_PROGRESS => true,
            other => return Err(format!("`state`: the type `{other}` is not known")),
        };
        let has_run = fields.0.contains("prevTs");
        Ok(CronNextRunRow {
            job: fields.parse("cronJobId")?,
            previous: if has_run { Some(moment(&fields, "prevTs")?) } else { None },
            next: moment(&fields, "nextTs")?,
            is_running,
        })
    }

    fn to_fields(&self) -> Object {
        let mut fields = object! {
            "cronJobId" => self.job,
            "state" => object! { "type" => if self.is_running { IN_PROGRESS } else { PENDING } },
            "nextTs" => nanoseconds(self.next),
        };
        if let Some(previous) = self.previous {
            fields.insert("prevTs", nanoseconds(previous));
        }
        fields
    }
}

/// The states of a job: it waits, or its action is under way.
const PENDING: &str = "pending";
const IN_PROGRESS: &str = "inProgress";

impl CronOutcome {
    fn to_object(&self) -> Object {
        let result = |result: Object| object! { "type" => "success", "result" => result };
        match self {
            CronOutcome::Success(value) => result(object! { "type" => "value", "value" => value.clone() }),
            CronOutcome::LongSuccess(text) => {
                result(object! { "type" => "truncated", "truncatedLog" => text.as_str() })
            }
            CronOutcome::Failed(error) => object! { "type" => "err", "error" => error.as_str() },
            CronOutcome::Canceled(count) => {
                let count = i64::try_from(*count).unwrap_or(i64::MAX);
                object! { "type" => "canceled", "num_canceled" => count }
            }
        }
    }

    fn from_object(object: &Object) -> Result<CronOutcome, String> {
        let fields = Fields(object);
        Ok(match fields.text("type")? {
            "success" => {
                let Value::Object(result) = fields.value("result")? else {
                    return Err("`result` is not an object".to_owned());
                };
                let result = Fields(result);
                match result.text("type")? {
                    "value" => CronOutcome::Success(result.value("value")?.clone()),
                    "truncated" => CronOutcome::LongSuccess(result.text("truncatedLog")?.to_owned()),
                    other => return Err(format!("the type `{other}` of `result` is not known")),
                }
            }
            "err" => CronOutcome::Failed(fields.text("error")?.to_owned()),
            "canceled" => {
                let count = u64::try_from(fields.integer("num_canceled")?);
                CronOutcome::Canceled(count.map_err(|_| "`num_canceled` is not a number".to_owned())?)
            }
            other => return Err(format!("the type `{other}` is not known")),
        })
    }
}

impl SystemRow for CronRunRow {
    const TABLE: SystemTable = SystemTable::CronJobLogs;

    fn from_fields(fields: &Object) -> Result<Self, String> {
        let fields = Fields(fields);
        let Value::Object(status) = fields.value("status")? else {
            return Err("`status` is not an object".to_owned());
        };
        let Value::Object(lines) = fields.value("logLines")? else {
            return Err("`logLines` is not an object".to_owned());
        };
        let lines = Fields(lines);
        let in_lines = |error: String| format!("`logLines`: {error}");
        Ok(CronRunRow {
            component: fields.parse("component")?,
            name: fields.text("name")?.to_owned(),
            at: moment(&fields, "ts")?,
            function: fields.parse("udfPath")?,
            arguments: arguments(&fields, "udfArgs")?,
            outcome: CronOutcome::from_object(status).map_err(|error| format!("`status`: {error}"))?,
            log_lines: lines.texts("logLines").map_err(in_lines)?,
            log_is_cut: lines.boolean("isTruncated").map_err(in_lines)?,
            execution_time_s: fields.number("executionTime")?,
        })
    }

    fn to_fields(&self) -> Object {
        object! {
            "component" => self.component.to_string(),
            "name" => self.name.as_str(),
            "ts" => nanoseconds(self.at),
            "udfPath" => self.function.with_extension(),
            "udfArgs" => arguments_value(&self.arguments),
            "status" => self.outcome.to_object(),
            "logLines" => object! {
                "logLines" => texts(self.log_lines.iter().cloned()),
                "isTruncated" => self.log_is_cut,
            },
            "executionTime" => self.execution_time_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use value::InternalId;

    use super::*;
    use crate::system_tables::rows::tests::comes_back;

    fn spec(schedule: Json) -> CronSpec {
        let json = json!({"name": "messages:send", "args": [{"n": 1, "big": {"$integer": "AQAAAAAAAAA="}}], "schedule": schedule});
        CronSpec::from_json("a job", &json).unwrap()
    }

    #[test]
    fn rows_come_back_and_broken_fields_are_named() {
        let component = ComponentId::from(InternalId::from_bytes([4; 16]));
        for schedule in [
            json!({"type": "interval", "minutes": 5}),
            json!({"type": "hourly"}),
            json!({"type": "weekly", "dayOfWeek": "monday", "hourUTC": 3, "minuteUTC": 4}),
            json!({"type": "cron", "cron": "0 4 * * *"}),
        ] {
            let row = CronJobRow::new(component, spec(schedule)).unwrap();
            assert_eq!(CronJobRow::from_fields(&row.to_fields()).unwrap().spec(), row.spec());
            comes_back(row);
        }
        let job = DocumentId::new(SystemTable::CronJobs.number(), InternalId::from_bytes([5; 16]));
        let next = UnixMs::new(1_795_157_486_270).unwrap();
        for is_running in [false, true] {
            comes_back(CronNextRunRow { job, previous: None, next, is_running });
            comes_back(CronNextRunRow { job, previous: UnixMs::new(7), next, is_running });
        }
        for outcome in [
            CronOutcome::Success(Value::Float64(1.5)),
            CronOutcome::LongSuccess("[1".to_owned()),
            CronOutcome::Failed("Uncaught Error: no".to_owned()),
            CronOutcome::Canceled(9),
        ] {
            comes_back(CronRunRow {
                component,
                name: "a job".to_owned(),
                at: next,
                function: "messages:send".parse().unwrap(),
                arguments: json!([{"n": 1}]),
                outcome,
                log_lines: vec!["[LOG] 'x'".to_owned()],
                log_is_cut: true,
                execution_time_s: 0.25,
            });
        }
    }

    #[test]
    fn a_function_is_known_by_its_canonical_name_however_it_was_written() {
        let declared =
            CronSpec { function: "messages.js:send".to_owned(), ..spec(json!({"type": "hourly"})) };
        let row = CronJobRow::new(ComponentId::ROOT, declared).unwrap();
        assert_eq!(row.spec(), &spec(json!({"type": "hourly"})));
    }
}
