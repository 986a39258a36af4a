//! What happens, as receivers are told.

use contract::{Caller, ConsoleLine, DirectoryEntry, ExecutionRecord, FunctionKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Topic {
    Verification,
    Console,
    FunctionExecution,
    Exception,
    AuditLog,
    SchedulerStats,
    ScheduledJobLag,
    CurrentStorageUsage,
    ConcurrencyStats,
    StorageApiBandwidth,
    LogStreamEgress,
    CustomAudit,
}

impl Topic {
    pub fn name(self) -> &'static str {
        match self {
            Topic::Verification => "verification",
            Topic::Console => "console",
            Topic::FunctionExecution => "function_execution",
            Topic::Exception => "exception",
            Topic::AuditLog => "audit_log",
            Topic::SchedulerStats => "scheduler_stats",
            Topic::ScheduledJobLag => "scheduled_job_lag",
            Topic::CurrentStorageUsage => "current_storage_usage",
            Topic::ConcurrencyStats => "concurrency_stats",
            Topic::StorageApiBandwidth => "storage_api_bandwidth",
            Topic::LogStreamEgress => "log_stream_egress",
            Topic::CustomAudit => "custom_audit",
        }
    }
}

/// How bad an event is, for receivers that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }
}

/// What an event costs in memory besides its texts: names, and places in maps.
const EVENT_BYTES: usize = 1_024;

/// Something that has happened in a deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub topic: Topic,
    /// Since the Unix epoch.
    pub timestamp_ms: u64,
    pub severity: Severity,
    /// Besides those that all have.
    pub fields: Map<String, Json>,
    /// Of the topic [`Topic::Exception`].
    pub exception: Option<Exception>,
    /// What it takes in memory, about.
    pub bytes: usize,
}

/// What a function threw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    /// `TypeError`
    pub kind: String,
    /// What stands behind it.
    pub message: String,
    /// Innermost first.
    pub frames: Vec<Frame>,
    pub function: String,
    pub function_type: &'static str,
    /// `None` if it is not known.
    pub runtime: Option<&'static str>,
    pub component: Option<String>,
    pub request_id: String,
    pub execution_id: String,
}

impl Exception {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let of_frame = |frame: &Frame| {
            size_of::<Frame>() + frame.file.len() + frame.function.as_ref().map_or(0, String::len)
        };
        let frames: usize = self.frames.iter().map(of_frame).sum();
        self.kind.len() + self.message.len() + self.function.len() + frames
    }
}

/// A place in an app's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub function: Option<String>,
    pub file: String,
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// Whose events they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub deployment: String,
    pub kind: &'static str,
    pub project: String,
}

impl Origin {
    pub fn of(entry: &DirectoryEntry) -> Origin {
        Origin {
            deployment: entry.deployment.name.clone(),
            kind: entry.kind.name(),
            project: entry.project.clone(),
        }
    }

    pub fn json(&self) -> Json {
        json!({
            "deployment_name": self.deployment,
            "deployment_type": self.kind,
            "project_name": self.project,
            "project_slug": self.project,
        })
    }
}

impl Event {
    /// That a stream was made or changed, to see whether it works.
    pub fn verification(timestamp_ms: u64) -> Event {
        let message = json!("Convex log stream connection test");
        Event::new(Topic::Verification, timestamp_ms, Severity::Info, json!({ "message": message }))
    }

    /// That somebody changed something of the deployment.
    pub fn audit(timestamp_ms: u64, action: &str, metadata: &Json) -> Event {
        let fields = json!({
            "audit_log_action": action,
            "audit_log_metadata": metadata.to_string(),
        });
        Event::new(Topic::AuditLog, timestamp_ms, Severity::Info, fields)
    }

    fn new(topic: Topic, timestamp_ms: u64, severity: Severity, fields: Json) -> Event {
        let Json::Object(fields) = fields else { unreachable!("fields are written as an object") };
        let bytes = EVENT_BYTES + serde_json::to_string(&fields).map_or(0, |json| json.len());
        Event { topic, timestamp_ms, severity, fields, exception: None, bytes }
    }

    /// As most receivers get it.
    pub fn json(&self, origin: &Origin) -> Map<String, Json> {
        let mut json = self.fields.clone();
        json.insert("topic".to_owned(), json!(self.topic.name()));
        json.insert("timestamp".to_owned(), json!(self.timestamp_ms));
        json.insert("convex".to_owned(), origin.json());
        json
    }

    /// A line for people.
    pub fn message(&self) -> String {
        let text = |name: &str| self.fields.get(name).and_then(Json::as_str).unwrap_or_default();
        let function = || {
            let path = self.fields.get("function").and_then(|function| function.get("path"));
            path.and_then(Json::as_str).unwrap_or_default()
        };
        match self.topic {
            Topic::Console | Topic::Exception | Topic::Verification => text("message").to_owned(),
            Topic::FunctionExecution => format!("{} {}", function(), text("status")),
            Topic::AuditLog => text("audit_log_action").to_owned(),
            topic => topic.name().to_owned(),
        }
    }
}

/// What a run is told as: what it printed, that it ran, and what it threw. It is the attempt behind `retries` others. Texts have at most
/// `text_bytes_max`, and a mark if they were cut.
pub(crate) fn of_execution(record: &ExecutionRecord, retries: usize, text_bytes_max: usize) -> Vec<Event> {
    let ended_ms = milliseconds(record.ended_at_s * 1e3);
    let function = function(record);
    let mut events: Vec<Event> =
        record.lines.iter().map(|line| console(line, &function, text_bytes_max)).collect();
    let error = record.error.as_deref().map(|error| Thrown::of(error, text_bytes_max));
    let has_failed = error.is_some();
    let mut execution = json!({
        "function": with_retries(function.clone(), record, retries),
        "execution_time_ms": record.execution_time.as_secs_f64() * 1e3,
        "status": if has_failed { "failure" } else { "success" },
        "will_retry": record.will_retry,
        "run_reason": run_reason(record.caller),
        "execution_id": record.execution_id,
        "usage": usage(),
    });
    if let Some(error) = &error {
        execution["error_message"] = json!(error.whole());
    }
    if let Some(table) = &record.conflict {
        execution["occ_info"] =
            json!({ "table_name": table, "component_path": record.component, "retry_count": retries });
    }
    if let Some(status) = record.http_status {
        execution["http_status"] = json!(status);
    }
    let severity = if has_failed { Severity::Error } else { Severity::Info };
    events.push(Event::new(Topic::FunctionExecution, ended_ms, severity, execution));
    if let Some(error) = error.filter(|_| !record.will_retry) {
        let fields = json!({ "function": function, "message": error.whole() });
        let exception = exception(&error, record);
        let event = Event::new(Topic::Exception, ended_ms, Severity::Error, fields);
        let bytes = event.bytes + exception.bytes();
        events.push(Event { exception: Some(exception), bytes, ..event });
    }
    events
}

fn milliseconds(number: f64) -> u64 {
    number as u64
}

fn function(record: &ExecutionRecord) -> Json {
    let mut function = json!({
        "type": function_type(record.kind),
        "path": record.identifier,
        "request_id": record.request_id,
    });
    if record.kind == FunctionKind::Query {
        function["cached"] = json!(record.cached);
    }
    if let Some(component) = &record.component {
        function["component_path"] = json!(component);
    }
    function
}

fn with_retries(mut function: Json, record: &ExecutionRecord, retries: usize) -> Json {
    if record.kind == FunctionKind::Mutation {
        // Not known: what waits before it has no record.
        function["mutation_queue_length"] = json!(0);
        function["mutation_retry_count"] = json!(retries);
    }
    function
}

fn function_type(kind: FunctionKind) -> &'static str {
    match kind {
        FunctionKind::Query => "query",
        FunctionKind::Mutation => "mutation",
        FunctionKind::Action => "action",
        FunctionKind::HttpAction => "http_action",
    }
}

fn run_reason(caller: Caller) -> &'static str {
    match caller {
        Caller::HttpApi => "httpApi",
        Caller::SyncWorker => "webSocket",
        Caller::Scheduler => "scheduler",
        Caller::Cron => "cron",
        Caller::HttpEndpoint => "httpEndpoint",
        Caller::Action => "action",
    }
}

fn console(line: &ConsoleLine, function: &Json, text_bytes_max: usize) -> Event {
    let severity = match line.level {
        contract::ConsoleLevel::Debug => Severity::Debug,
        contract::ConsoleLevel::Info | contract::ConsoleLevel::Log => Severity::Info,
        contract::ConsoleLevel::Warn => Severity::Warn,
        contract::ConsoleLevel::Error => Severity::Error,
    };
    let message = line.messages.join(" ");
    let fields = json!({
        "function": function,
        "log_level": line.level.name(),
        "message": cut(&message, text_bytes_max),
        "is_truncated": line.truncated || message.len() > text_bytes_max,
    });
    Event::new(Topic::Console, milliseconds(line.logged_at_ms), severity, fields)
}

/// Not measured. The fields must be there and be numbers.
fn usage() -> Json {
    const FIELDS: [&str; 15] = [
        "database_read_bytes",
        "database_write_bytes",
        "database_io_read_bytes",
        "database_io_write_bytes",
        "database_read_documents",
        "file_storage_read_bytes",
        "file_storage_write_bytes",
        "vector_storage_read_bytes",
        "vector_storage_write_bytes",
        "vector_search_query_bytes",
        "vector_search_write_query_bytes",
        "text_search_query_bytes",
        "text_search_write_query_bytes",
        "network_egress_bytes",
        "audit_log_egress_bytes",
    ];
    Json::Object(FIELDS.into_iter().map(|field| (field.to_owned(), json!(0))).collect())
}

/// What a function threw, as long as it may be told.
struct Thrown {
    /// `Uncaught TypeError: message`
    text: String,
    /// The lines below it, from the first that names a place.
    stack: String,
}

impl Thrown {
    fn of(error: &str, text_bytes_max: usize) -> Thrown {
        let lines = error.split_inclusive('\n');
        let text_bytes: usize = lines.take_while(|line| !is_frame(line)).map(str::len).sum();
        let (text, stack) = error.split_at(text_bytes);
        Thrown { text: cut(text, text_bytes_max), stack: cut(stack, text_bytes_max) }
    }

    fn whole(&self) -> String {
        let line = if self.text.ends_with(CUT) && !self.stack.is_empty() { "\n" } else { "" };
        [&self.text, line, &self.stack].concat()
    }
}

fn is_frame(line: &str) -> bool {
    line.trim_start().starts_with("at ")
}

/// Stands for what is left out.
const CUT: &str = "… (cut)";

/// The beginning of a text that is too long, and the mark.
fn cut(text: &str, bytes_max: usize) -> String {
    match text.len() <= bytes_max {
        true => text.to_owned(),
        false => format!("{}{CUT}", &text[..text.floor_char_boundary(bytes_max)]),
    }
}

/// From `Uncaught TypeError: message` and the stack below it.
fn exception(error: &Thrown, record: &ExecutionRecord) -> Exception {
    let text = error.text.trim();
    let text = text.strip_prefix("Uncaught ").unwrap_or(text);
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let (kind, message) = match text.split_once(": ").filter(|(name, _)| is_name(name)) {
        Some((kind, message)) => (kind, message),
        None => ("Error", text),
    };
    Exception {
        kind: kind.to_owned(),
        message: message.to_owned(),
        frames: error.stack.lines().filter(|line| is_frame(line)).map(frame).collect(),
        function: record.identifier.clone(),
        function_type: function_type(record.kind),
        // Actions alone may be Node.js's.
        runtime: (record.kind != FunctionKind::Action).then_some("default"),
        component: record.component.clone(),
        request_id: record.request_id.clone(),
        execution_id: record.execution_id.clone(),
    }
}

/// From `at name (file:line:column)` or `at file:line:column`.
fn frame(line: &str) -> Frame {
    let line = line.trim().trim_start_matches("at ");
    let (function, place) = match line.strip_suffix(')').and_then(|line| line.rsplit_once(" (")) {
        Some((function, place)) => (Some(function.to_owned()), place),
        None => (None, line),
    };
    let mut parts = place.rsplitn(3, ':');
    let (last, middle, file) = (parts.next(), parts.next(), parts.next());
    match (file, middle.and_then(|line| line.parse().ok()), last.and_then(|column| column.parse().ok())) {
        (Some(file), Some(line), Some(column)) => {
            Frame { function, file: file.to_owned(), line: Some(line), column: Some(column) }
        }
        _ => Frame { function, file: place.to_owned(), line: None, column: None },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use contract::{ConsoleLevel, IdentityKind};

    use super::*;

    /// What texts are cut to.
    pub(crate) const MAX: usize = crate::LogStreamLimits::DEFAULT.text_bytes_max;

    pub(crate) fn origin() -> Origin {
        Origin { deployment: "happy-otter-1".to_owned(), kind: "prod", project: "shop".to_owned() }
    }

    pub(crate) fn failed() -> ExecutionRecord {
        ExecutionRecord {
            kind: FunctionKind::Mutation,
            identifier: "messages:send".to_owned(),
            component: None,
            ended_at_s: 1_700_000_000.5,
            execution_time: Duration::from_millis(12),
            lines: vec![ConsoleLine {
                level: ConsoleLevel::Warn,
                messages: vec!["'two'".to_owned(), "words".to_owned()],
                truncated: false,
                logged_at_ms: 1_700_000_000_499.7,
            }],
            error: Some(
                "Uncaught TypeError: no body\n    at send (../convex/messages.ts:7:11)\n    at ../convex/messages.ts:9:1"
                    .to_owned(),
            ),
            http_status: None,
            cached: false,
            caller: Caller::SyncWorker,
            identity: IdentityKind::User,
            request_id: "r1".to_owned(),
            execution_id: "e1".to_owned(),
            conflict: None,
            will_retry: false,
        }
    }

    #[test]
    fn a_run_is_told_by_what_it_printed_that_it_ran_and_what_it_threw() {
        let events = of_execution(&failed(), 2, MAX);
        let topics: Vec<Topic> = events.iter().map(|event| event.topic).collect();
        assert_eq!(topics, [Topic::Console, Topic::FunctionExecution, Topic::Exception]);
        let console = events[0].json(&origin());
        assert_eq!(console["timestamp"], json!(1_700_000_000_499_u64));
        assert_eq!(console["message"], json!("'two' words"));
        assert_eq!(console["log_level"], json!("WARN"));
        assert_eq!(console["function"]["path"], json!("messages:send"));
        assert_eq!(console["convex"]["deployment_name"], json!("happy-otter-1"));
        let execution = events[1].json(&origin());
        assert_eq!(execution["status"], json!("failure"));
        assert_eq!(execution["run_reason"], json!("webSocket"));
        assert_eq!(execution["function"]["mutation_retry_count"], json!(2));
        let exception = events[2].exception.clone().expect("it has one");
        assert_eq!((exception.kind.as_str(), exception.message.as_str()), ("TypeError", "no body"));
        let frame = |function: Option<&str>, line, column| Frame {
            function: function.map(str::to_owned),
            file: "../convex/messages.ts".to_owned(),
            line: Some(line),
            column: Some(column),
        };
        assert_eq!(exception.frames, [frame(Some("send"), 7, 11), frame(None, 9, 1)]);
    }

    #[test]
    fn long_texts_are_cut_with_a_mark_and_the_stack_stays() {
        let long = "é".repeat(4 << 20);
        let line = ConsoleLine { messages: vec![long.clone()], ..failed().lines.remove(0) };
        let error = Some(format!("Uncaught RangeError: {long}\n    at send (../convex/messages.ts:7:11)"));
        let events = of_execution(&ExecutionRecord { lines: vec![line], error, ..failed() }, 0, 1_000);
        for event in &events {
            assert!(event.bytes < 5_000, "{:?}: {}", event.topic, event.bytes);
        }
        let text = |event: usize, name: &str| events[event].fields[name].as_str().expect("text").to_owned();
        assert!(text(0, "message").ends_with(CUT) && events[0].fields["is_truncated"] == json!(true));
        for message in [text(1, "error_message"), text(2, "message")] {
            assert!(message.ends_with("(cut)\n    at send (../convex/messages.ts:7:11)"), "{message}");
        }
        let exception = events[2].exception.as_ref().expect("it has one");
        assert_eq!((&exception.kind[..], exception.frames.len()), ("RangeError", 1));
        assert!(exception.message.ends_with(CUT));
        let deep = format!("Uncaught Error: x\n{}", "    at a\n".repeat(1 << 20));
        let events = of_execution(&ExecutionRecord { error: Some(deep), ..failed() }, 0, 1_000);
        assert!(events[2].bytes < 20_000, "{}", events[2].bytes);
    }

    #[test]
    fn what_runs_again_has_thrown_nothing_yet() {
        let conflict = Some("counters".to_owned());
        let events = of_execution(&ExecutionRecord { conflict, will_retry: true, ..failed() }, 1, MAX);
        let occ_info = &events[1].fields["occ_info"];
        assert_eq!((&occ_info["table_name"], &occ_info["retry_count"]), (&json!("counters"), &json!(1)));
        assert!(events.iter().all(|event| event.topic != Topic::Exception));
    }

    #[test]
    fn topics_are_spelled_one_way() {
        for name in [
            "verification",
            "console",
            "function_execution",
            "exception",
            "audit_log",
            "scheduler_stats",
            "scheduled_job_lag",
            "current_storage_usage",
            "concurrency_stats",
            "storage_api_bandwidth",
            "log_stream_egress",
            "custom_audit",
        ] {
            let topic: Topic = serde_json::from_value(json!(name)).expect(name);
            assert_eq!(topic.name(), name);
        }
    }
}
