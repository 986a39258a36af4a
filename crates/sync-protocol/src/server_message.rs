//! What the server sends.

use std::{fmt::Write, sync::Arc};

use crate::Timestamp;

/// A message to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    Transition(Transition),
    /// A part of a Transition's text, for clients that know chunks. Nothing but a `Ping` may stand between two parts.
    TransitionChunk {
        chunk: String,
        part_number: usize,
        total_parts: usize,
        transition_id: String,
    },
    MutationResponse {
        request_id: u32,
        result: MutationResult,
        log_lines: Vec<String>,
    },
    /// The answer to an action; success is the value, failure the message and the data of a `ConvexError`.
    ActionResponse {
        request_id: u32,
        result: Result<Arc<str>, (String, Option<Arc<str>>)>,
        log_lines: Vec<String>,
    },
    /// The identity did not change; the client is expected to close and to come back with another token.
    AuthError {
        error: String,
        base_version: u32,
        auth_update_attempted: bool,
    },
    /// The JavaScript client stops for ever on this, so it is for defects of the client alone.
    FatalError {
        error: String,
    },
    Ping,
}

/// A step of all the client's queries from one moment to a later one.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Exactly the end of the Transition before, zeros at first.
    pub start: StateVersion,
    pub end: StateVersion,
    pub modifications: Vec<StateModification>,
    /// The client's clock at `Connect` minus ours, in milliseconds.
    pub client_clock_skew_ms: Option<i64>,
    /// Our clock before sending, nanoseconds since the Unix epoch.
    pub server_clock_ns: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateVersion {
    pub query_set: u32,
    pub identity: u32,
    pub timestamp: Timestamp,
}

/// At most one per query in a Transition. Values and errors' data are JSON texts.
#[derive(Clone, Debug, PartialEq)]
pub enum StateModification {
    QueryUpdated {
        query_id: u32,
        value: Arc<str>,
        log_lines: Arc<[String]>,
        journal: Option<Arc<str>>,
    },
    QueryFailed {
        query_id: u32,
        message: String,
        /// Only of a `ConvexError`: an absent one makes a plain error, `null` a `ConvexError` with the data `null`.
        data: Option<Arc<str>>,
        log_lines: Arc<[String]>,
        journal: Option<Arc<str>>,
    },
    QueryRemoved {
        query_id: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum MutationResult {
    /// The client waits for a Transition to `timestamp` or past it.
    Success {
        value: Arc<str>,
        timestamp: Timestamp,
    },
    Failure {
        message: String,
        data: Option<Arc<str>>,
    },
}

impl ServerMessage {
    /// About so many bytes has the text of the frame: not less than the values in it, which alone can be many.
    pub fn size_hint(&self) -> usize {
        const REST: usize = 256;
        let lines = |lines: &[String]| lines.iter().map(String::len).sum();
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let of_modification = |modification: &StateModification| {
            let parts = match modification {
                StateModification::QueryUpdated { value, log_lines, journal, .. } => {
                    [value.len(), 0, lines(log_lines), text(journal)]
                }
                StateModification::QueryFailed { message, data, log_lines, journal, .. } => {
                    [message.len(), text(data), lines(log_lines), text(journal)]
                }
                StateModification::QueryRemoved { .. } => [0; 4],
            };
            REST + parts.iter().sum::<usize>()
        };
        let parts = match self {
            ServerMessage::Transition(transition) => {
                [transition.modifications.iter().map(of_modification).sum(), 0, 0]
            }
            ServerMessage::TransitionChunk { chunk, .. } => [chunk.len(), 0, 0],
            ServerMessage::MutationResponse { result, log_lines, .. } => match result {
                MutationResult::Success { value, .. } => [value.len(), 0, lines(log_lines)],
                MutationResult::Failure { message, data } => [message.len(), text(data), lines(log_lines)],
            },
            ServerMessage::ActionResponse { result, log_lines, .. } => match result {
                Ok(value) => [value.len(), 0, lines(log_lines)],
                Err((message, data)) => [message.len(), text(data), lines(log_lines)],
            },
            ServerMessage::AuthError { error, .. } | ServerMessage::FatalError { error } => {
                [error.len(), 0, 0]
            }
            ServerMessage::Ping => [0; 3],
        };
        REST + parts.iter().sum::<usize>()
    }

    /// The text of the frame.
    pub fn to_json(&self) -> String {
        let mut json = JsonText(String::with_capacity(self.size_hint()));
        json.message(self);
        json.0
    }
}

/// Cuts a Transition's text into pieces of at most `bytes_max` bytes, none of which ends inside a character.
pub fn split_into_chunks(text: &str, bytes_max: usize) -> Vec<&str> {
    const CHARACTER_BYTES_MAX: usize = 4;
    let bytes_max = bytes_max.max(CHARACTER_BYTES_MAX);
    let mut chunks = Vec::with_capacity(text.len() / bytes_max + 1);
    let mut rest = text;
    while rest.len() > bytes_max {
        let (chunk, after) = rest.split_at(rest.floor_char_boundary(bytes_max));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

/// Written by hand: the values are JSON already and can have megabytes.
struct JsonText(String);

impl JsonText {
    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    fn number(&mut self, number: impl std::fmt::Display) -> &mut Self {
        write!(self.0, "{number}").expect("writing to a String does not fail");
        self
    }

    fn string(&mut self, text: &str) -> &mut Self {
        let quoted = serde_json::to_string(text).expect("a string has a JSON form");
        self.raw(&quoted)
    }

    fn strings(&mut self, texts: &[String]) -> &mut Self {
        self.raw("[");
        for (position, text) in texts.iter().enumerate() {
            if position > 0 {
                self.raw(",");
            }
            self.string(text);
        }
        self.raw("]")
    }

    fn message(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Transition(transition) => self.transition(transition),
            ServerMessage::TransitionChunk { chunk, part_number, total_parts, transition_id } => {
                self.raw(r#"{"type":"TransitionChunk","chunk":"#).string(chunk);
                self.raw(r#","partNumber":"#).number(part_number);
                self.raw(r#","totalParts":"#).number(total_parts);
                self.raw(r#","transitionId":"#).string(transition_id).raw("}");
            }
            ServerMessage::MutationResponse { request_id, result, log_lines } => {
                self.raw(r#"{"type":"MutationResponse","requestId":"#).number(request_id);
                match result {
                    MutationResult::Success { value, timestamp } => {
                        self.raw(r#","success":true,"result":"#).raw(value);
                        self.raw(r#","ts":""#)
                            .raw(&timestamp.encode())
                            .raw(r#"","logLines":"#)
                            .strings(log_lines);
                    }
                    MutationResult::Failure { message, data } => self.failure(message, data, log_lines),
                }
                self.raw("}");
            }
            ServerMessage::ActionResponse { request_id, result, log_lines } => {
                self.raw(r#"{"type":"ActionResponse","requestId":"#).number(request_id);
                match result {
                    Ok(value) => {
                        self.raw(r#","success":true,"result":"#).raw(value);
                        self.raw(r#","logLines":"#).strings(log_lines);
                    }
                    Err((message, data)) => self.failure(message, data, log_lines),
                }
                self.raw("}");
            }
            ServerMessage::AuthError { error, base_version, auth_update_attempted } => {
                self.raw(r#"{"type":"AuthError","error":"#).string(error);
                self.raw(r#","baseVersion":"#).number(base_version);
                self.raw(r#","authUpdateAttempted":"#).number(auth_update_attempted).raw("}");
            }
            ServerMessage::FatalError { error } => {
                self.raw(r#"{"type":"FatalError","error":"#).string(error).raw("}");
            }
            ServerMessage::Ping => {
                self.raw(r#"{"type":"Ping"}"#);
            }
        }
    }

    fn failure(&mut self, message: &str, data: &Option<Arc<str>>, log_lines: &[String]) {
        self.raw(r#","success":false,"result":"#).string(message);
        self.raw(r#","logLines":"#).strings(log_lines);
        self.error_data(data);
    }

    fn error_data(&mut self, data: &Option<Arc<str>>) {
        if let Some(data) = data {
            self.raw(r#","errorData":"#).raw(data);
        }
    }

    fn transition(&mut self, transition: &Transition) {
        self.raw(r#"{"type":"Transition","startVersion":"#).version(transition.start);
        self.raw(r#","endVersion":"#).version(transition.end);
        self.raw(r#","modifications":["#);
        for (position, modification) in transition.modifications.iter().enumerate() {
            if position > 0 {
                self.raw(",");
            }
            self.modification(modification);
        }
        self.raw("]");
        if let Some(skew) = transition.client_clock_skew_ms {
            self.raw(r#","clientClockSkew":"#).number(skew);
        }
        if let Some(clock) = transition.server_clock_ns {
            self.raw(r#","serverTs":"#).number(clock);
        }
        self.raw("}");
    }

    fn version(&mut self, version: StateVersion) -> &mut Self {
        self.raw(r#"{"querySet":"#).number(version.query_set);
        self.raw(r#","identity":"#).number(version.identity);
        self.raw(r#","ts":""#).raw(&version.timestamp.encode()).raw(r#""}"#)
    }

    fn modification(&mut self, modification: &StateModification) {
        match modification {
            StateModification::QueryUpdated { query_id, value, log_lines, journal } => {
                self.raw(r#"{"type":"QueryUpdated","queryId":"#).number(query_id);
                self.raw(r#","value":"#).raw(value);
                self.raw(r#","logLines":"#).strings(log_lines);
                self.journal(journal);
            }
            StateModification::QueryFailed { query_id, message, data, log_lines, journal } => {
                self.raw(r#"{"type":"QueryFailed","queryId":"#).number(query_id);
                self.raw(r#","errorMessage":"#).string(message);
                self.raw(r#","logLines":"#).strings(log_lines);
                self.error_data(data);
                self.journal(journal);
            }
            StateModification::QueryRemoved { query_id } => {
                self.raw(r#"{"type":"QueryRemoved","queryId":"#).number(query_id);
            }
        }
        self.raw("}");
    }

    /// Always there, `null` if the query has none: the Rust clients require it.
    fn journal(&mut self, journal: &Option<Arc<str>>) {
        self.raw(r#","journal":"#);
        match journal {
            Some(journal) => self.string(journal),
            None => self.raw("null"),
        };
    }
}
