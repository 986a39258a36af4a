//! What the server and a process say to each other. The other end is `program/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::JsError;

/// Names a call within its process.
pub(crate) type CallNumber = u32;

/// Names an operation within its process.
pub(crate) type OperationNumber = u64;

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum ToNode<'a> {
    Start {
        folder: &'a str,
        environment: &'a BTreeMap<String, String>,
        log_lines_max: usize,
        log_line_chars_max: usize,
        stack_frames_max: usize,
        operations_max: usize,
        frame_bytes_max: usize,
    },
    Analyze {
        modules: &'a [String],
    },
    /// The arguments are the body.
    Invoke {
        call: CallNumber,
        module: &'a str,
        name: &'a str,
        request_id: &'a str,
        result_bytes_max: usize,
    },
    /// The JSON is the body.
    Answer {
        id: OperationNumber,
        error: Option<OperationFailed<'a>>,
        has_body: bool,
    },
    /// A part of what an operation is answered with.
    Chunk {
        id: OperationNumber,
        is_last: bool,
        error: Option<OperationFailed<'a>>,
    },
    /// The next part of what an operation brings may come.
    More {
        id: OperationNumber,
    },
    Rest {},
}

#[derive(Debug, Serialize)]
pub(crate) struct OperationFailed<'a> {
    pub message: &'a str,
    pub data: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum FromNode {
    /// From here on the call may have had effects.
    Began {
        call: CallNumber,
    },
    Log {
        call: CallNumber,
        level: Level,
        messages: Vec<String>,
        is_truncated: bool,
    },
    Operation {
        call: CallNumber,
        id: OperationNumber,
        name: String,
        arguments: String,
        has_body: bool,
    },
    /// A part of what an operation brings.
    Chunk {
        call: CallNumber,
        id: OperationNumber,
        is_last: bool,
    },
    /// The body is the result.
    Returned {
        call: CallNumber,
    },
    Threw {
        call: CallNumber,
        error: JsError,
    },
    Missing {
        call: CallNumber,
    },
    TooLarge {
        call: CallNumber,
        bytes: usize,
    },
    /// The process ends.
    Uncaught {
        error: JsError,
    },
    Resting {},
    /// The body is what the modules export.
    Analyzed {},
    NotAnalyzed {
        module: String,
        error: JsError,
    },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Level {
    Debug,
    Error,
    Info,
    Log,
    Warn,
}

impl From<Level> for contract::ConsoleLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => Self::Debug,
            Level::Error => Self::Error,
            Level::Info => Self::Info,
            Level::Log => Self::Log,
            Level::Warn => Self::Warn,
        }
    }
}
