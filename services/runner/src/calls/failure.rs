//! How a function fails: what others may catch, and what ends everything.

use std::{fmt, sync::Arc};

use contract::{Caller, Error, FunctionError};
use isolate::{FunctionKind, JsError, KillReason, SyscallError};
use transaction::UserError;
use value::Value;

use crate::metrics::Kill;

/// A failure of a function. Its caller, if that is a function, may catch it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thrown {
    /// As people see it: `Uncaught TypeError: …`, `ArgumentValidationError: …`.
    title: String,
    /// As a function sees it whose own operation failed so.
    message: String,
    /// Frames, in terms of the bundled modules; may be empty.
    pub(crate) stack: String,
    /// Convex JSON: what a `ConvexError` carries.
    pub(crate) data: Option<Arc<str>>,
    /// Nothing was run, and a tool of the developer asked for it: of what it is told, it shows the first line.
    is_for_tools: bool,
}

impl Thrown {
    /// A failure that the host found before or after the function ran.
    pub(crate) fn new(message: impl Into<String>) -> Thrown {
        let message = message.into();
        Thrown { title: message.clone(), message, stack: String::new(), data: None, is_for_tools: false }
    }

    /// Why there is nothing to run for a tool of the developer.
    pub(crate) fn for_tools(message: impl Into<String>) -> Thrown {
        Thrown { is_for_tools: true, ..Thrown::new(message) }
    }

    /// The command line tool looks for the first four words.
    pub(crate) fn no_function(path: impl fmt::Display) -> Thrown {
        Thrown::new(format!(
            "Could not find function `{path}`. Is its name spelt right, is it public, and has it been pushed with `npx \
             convex dev` or `npx convex deploy`?"
        ))
    }

    /// What a call comes to while the deployment is paused. Whoever asks over HTTP is told by a status. What is due fails with an error
    /// of the service: it has not run, and waits.
    pub(crate) fn paused(caller: Caller) -> Result<Thrown, Error> {
        const CODE: &str = "BackendIsNotRunning";
        let message = "The deployment is paused. It runs functions again once somebody resumes it.";
        match caller {
            Caller::HttpApi | Caller::HttpEndpoint => Err(Error::bad_request(CODE, message)),
            Caller::Scheduler | Caller::Cron => Err(Error::overloaded(CODE, message)),
            Caller::SyncWorker | Caller::Action => Ok(Thrown::for_tools(format!("{CODE}: {message}"))),
        }
    }

    pub(crate) fn wrong_kind(path: impl fmt::Display, is: FunctionKind, called_as: FunctionKind) -> Thrown {
        Thrown::new(format!(
            "InvalidFunctionCall: `{path}` is {} and can't be called as {}.",
            with_article(is),
            with_article(called_as),
        ))
    }

    /// What a client is told.
    pub(crate) fn to_function_error(&self, request_id: &str, mapped_stack: &str) -> FunctionError {
        FunctionError { message: self.to_text(request_id, mapped_stack), data: self.data.clone() }
    }

    /// What a client is told if it shall not see the inside: the data of an application's own errors is meant for it.
    pub(crate) fn to_redacted_error(&self, request_id: &str) -> FunctionError {
        FunctionError { message: header(request_id), data: self.data.clone() }
    }

    /// What the log shows.
    pub(crate) fn to_log_text(&self, mapped_stack: &str) -> String {
        match mapped_stack {
            "" => self.title.clone(),
            stack => format!("{}\n{stack}", self.title),
        }
    }

    /// What a function sees of the failure of one that it called, which is all that is known of it.
    pub(crate) fn to_error_of_callee(&self, mapped_stack: &str) -> SyscallError {
        SyscallError {
            message: self.to_log_text(mapped_stack),
            data: self.data.as_deref().map(str::to_owned),
        }
    }

    fn to_text(&self, request_id: &str, mapped_stack: &str) -> String {
        let (header, text) = (header(request_id), self.to_log_text(mapped_stack));
        if self.is_for_tools { format!("{text}\n{header}") } else { format!("{header}\n{text}") }
    }
}

fn with_article(kind: FunctionKind) -> &'static str {
    match kind {
        FunctionKind::Query => "a query",
        FunctionKind::Mutation => "a mutation",
        FunctionKind::Action => "an action",
        FunctionKind::HttpAction => "an HTTP action",
    }
}

fn header(request_id: &str) -> String {
    format!("[Request ID: {request_id}] Server Error")
}

impl From<JsError> for Thrown {
    fn from(error: JsError) -> Thrown {
        let message = match error.message.as_str() {
            "" => error.name,
            message => format!("{}: {message}", error.name),
        };
        // Nobody but the function has seen it: it may be beyond the limits of values, or no JSON at all.
        let data = error.convex_error_data.filter(|text| Value::from_json(text).is_ok());
        let (title, data) = (format!("Uncaught {message}"), data.map(Arc::from));
        Thrown { title, message, stack: error.stack, data, is_for_tools: false }
    }
}

impl From<UserError> for Thrown {
    fn from(error: UserError) -> Thrown {
        let message = error.to_string();
        let data = error.data.map(|data| Arc::from(data.to_json()));
        let title = format!("Uncaught Error: {message}");
        Thrown { title, message, stack: String::new(), data, is_for_tools: false }
    }
}

impl From<Thrown> for SyscallError {
    fn from(thrown: Thrown) -> SyscallError {
        SyscallError { message: thrown.message, data: thrown.data.as_deref().map(str::to_owned) }
    }
}

/// What ends a whole tree of calls; no function can catch it.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// A limit ended it. That is an answer: the caller is told so.
    Killed(KillReason),
    /// Its host calls took too long.
    HostCallsTookTooLong { limit_ms: u64 },
    /// It took too long, waiting included.
    TookTooLong { limit_ms: u64 },
    /// It would have taken more memory while all actions together had what they may have.
    ActionsOutOfMemory { limit_bytes: u64 },
    /// Not the function's fault; there is no answer.
    Service(Error),
}

impl Stop {
    /// What it counts as, if it is an answer.
    pub(crate) fn kill(&self) -> Option<Kill> {
        match self {
            Stop::Killed(KillReason::TimedOut { .. }) => Some(Kill::Time),
            Stop::Killed(KillReason::OutOfMemory { .. }) => Some(Kill::Memory),
            Stop::Killed(KillReason::StackOverflow) => Some(Kill::Stack),
            Stop::Killed(KillReason::NeverResolves) => Some(Kill::Unsettled),
            Stop::Killed(KillReason::Trap(_)) => Some(Kill::Trap),
            Stop::HostCallsTookTooLong { .. } => Some(Kill::HostTime),
            Stop::TookTooLong { .. } => Some(Kill::TotalTime),
            Stop::ActionsOutOfMemory { .. } => Some(Kill::ActionsMemory),
            Stop::Service(_) => None,
        }
    }

    /// The answer, if there is one.
    pub(crate) fn into_answer(self) -> Result<Thrown, Error> {
        let text = match self {
            Stop::Killed(KillReason::TimedOut { limit_ms }) => format!(
                "Function execution timed out (maximum duration: {} s). Do less at once, or use an action.",
                limit_ms as f64 / 1e3
            ),
            Stop::Killed(KillReason::OutOfMemory { limit_bytes }) => {
                format!(
                    "FunctionOutOfMemory: the function used more than {} MiB of memory.",
                    limit_bytes >> 20
                )
            }
            Stop::Killed(KillReason::StackOverflow) => {
                "StackOverflow: the functions call each other too deeply.".to_owned()
            }
            Stop::Killed(KillReason::NeverResolves) => NEVER_RESOLVES.to_owned(),
            Stop::Killed(KillReason::Trap(reason)) => {
                tracing::error!(reason, "an isolate trapped");
                "InternalServerError: the isolate that ran the function failed.".to_owned()
            }
            Stop::HostCallsTookTooLong { limit_ms } => format!(
                "SystemTimeoutError: the function's reads and writes took longer than {} s.",
                limit_ms as f64 / 1e3
            ),
            Stop::TookTooLong { limit_ms } => {
                format!("Function execution timed out (maximum duration: {} s).", limit_ms as f64 / 1e3)
            }
            Stop::ActionsOutOfMemory { limit_bytes } => format!(
                "ActionsOutOfMemory: the actions that are under way use more than {} MiB of memory together.",
                limit_bytes >> 20
            ),
            Stop::Service(error) => return Err(error),
        };
        Ok(Thrown::new(text))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Service(error)
    }
}

/// The failure of a function which waits for what can't happen; its caller may catch it.
pub(super) const NEVER_RESOLVES: &str = "The function returned a promise that will never resolve: nothing that it \
                                         waits for is on its way. Is a promise left unresolved?";

/// A transaction's error, as the function sees it or as the end of everything.
pub(crate) fn split(error: transaction::Error) -> Result<Thrown, Stop> {
    match error {
        transaction::Error::User(error) => Ok(error.into()),
        transaction::Error::Service(error) => Err(Stop::Service(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn js_error(name: &str, message: &str) -> JsError {
        JsError {
            name: name.to_owned(),
            message: message.to_owned(),
            stack: "    at handler (messages.js:1:2)".to_owned(),
            code: None,
            convex_error_data: None,
        }
    }

    #[test]
    fn clients_see_the_request_the_error_and_where_it_was_thrown() {
        let thrown = Thrown::from(js_error("TypeError", "no"));
        let error = thrown.to_function_error("abc", "    at handler (../convex/messages.ts:5:9)");
        assert_eq!(
            error.message,
            "[Request ID: abc] Server Error\nUncaught TypeError: no\n    at handler (../convex/messages.ts:5:9)"
        );
        assert_eq!(error.data, None);
    }

    #[test]
    fn a_tool_is_told_the_sentence_first() {
        let error = Thrown::for_tools("There is no component `nope`.").to_function_error("abc", "");
        assert_eq!(error.message, "There is no component `nope`.\n[Request ID: abc] Server Error");
    }

    #[test]
    fn an_error_without_a_message_has_its_name() {
        let thrown = Thrown::from(js_error("Error", ""));
        assert_eq!(thrown.to_log_text(""), "Uncaught Error");
    }

    #[test]
    fn a_payload_that_is_no_value_is_left_out() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "}{", r#"{"$a":1}"#, deep.as_str()] {
            let mut error = js_error("ConvexError", "no");
            error.convex_error_data = Some(text.to_owned());
            let thrown = Thrown::from(error);
            assert_eq!((thrown.to_log_text("").as_str(), thrown.data), ("Uncaught ConvexError: no", None));
        }
    }

    #[test]
    fn a_redacted_error_keeps_only_what_the_application_meant_for_its_clients() {
        let mut error = js_error("ConvexError", "secret");
        error.convex_error_data = Some(r#"{"code":1}"#.to_owned());
        let redacted = Thrown::from(error).to_redacted_error("abc");
        assert_eq!(redacted.message, "[Request ID: abc] Server Error");
        assert_eq!(redacted.data.as_deref(), Some(r#"{"code":1}"#));
    }

    #[test]
    fn a_function_that_catches_the_error_of_another_sees_all_of_it() {
        let caught = Thrown::from(js_error("RangeError", "no")).to_error_of_callee("    at f (a.ts:1:2)");
        assert_eq!(caught.message, "Uncaught RangeError: no\n    at f (a.ts:1:2)");
        let mut error = js_error("ConvexError", "no");
        error.convex_error_data = Some("7".to_owned());
        let caught = Thrown::from(error).to_error_of_callee("");
        assert_eq!(
            (caught.message.as_str(), caught.data.as_deref()),
            ("Uncaught ConvexError: no", Some("7"))
        );
    }

    #[test]
    fn a_function_that_catches_the_error_of_an_operation_sees_its_code_and_data() {
        let error = UserError { code: "Nope".into(), message: "no".to_owned(), data: Some(true.into()) };
        let caught = SyscallError::from(Thrown::from(error));
        assert_eq!((caught.message.as_str(), caught.data.as_deref()), ("Nope: no", Some("true")));
    }

    #[test]
    fn the_command_line_tool_recognises_an_unknown_function() {
        assert!(Thrown::no_function("messages:lst").to_log_text("").contains("Could not find function"));
    }

    #[test]
    fn limits_are_answers_and_faults_are_not() {
        let timed_out =
            Stop::Killed(KillReason::TimedOut { limit_ms: 4_000 }).into_answer().expect("an answer");
        assert!(
            timed_out.to_log_text("").starts_with("Function execution timed out (maximum duration: 4 s)")
        );
        assert!(Stop::Service(Error::internal("disk")).into_answer().is_err());
    }
}
