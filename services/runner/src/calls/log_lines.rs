//! What a function and those that it calls write to the console.

use contract::{LogLevel, LogLine};
use isolate::{ConsoleLevel, ConsoleLine};

use crate::{service::now_ms, source_map::SourceMaps};

/// The lines of one execution. What is too much is dropped, and a last line says so.
#[derive(Debug)]
pub(crate) struct LogLines {
    lines: Vec<LogLine>,
    lines_max: usize,
}

impl LogLines {
    /// At most `lines_max` lines, the notice included.
    pub(crate) fn new(lines_max: usize) -> LogLines {
        LogLines { lines: Vec::new(), lines_max }
    }

    pub(crate) fn push_console(&mut self, line: ConsoleLine) {
        let level = match line.level {
            ConsoleLevel::Debug => LogLevel::Debug,
            ConsoleLevel::Log => LogLevel::Log,
            ConsoleLevel::Info => LogLevel::Info,
            ConsoleLevel::Warn => LogLevel::Warn,
            ConsoleLevel::Error => LogLevel::Error,
        };
        self.push(level, line.messages, line.is_truncated);
    }

    /// A line of the host's.
    pub(crate) fn push_warning(&mut self, message: String) {
        self.push(LogLevel::Warn, vec![message], false);
    }

    fn push(&mut self, level: LogLevel, messages: Vec<String>, truncated: bool) {
        let line = |level, messages, truncated| LogLine { level, messages, truncated, timestamp: now_ms() };
        if self.lines.len() + 1 < self.lines_max {
            self.lines.push(line(level, messages, truncated));
        } else if self.lines.len() < self.lines_max {
            let notice = format!("The log is full ({} lines); further lines were dropped.", self.lines_max);
            self.lines.push(line(LogLevel::Error, vec![notice], false));
        }
    }

    /// Everything that was written.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|line| &line.messages).map(String::as_str)
    }

    /// Puts the stacks of errors that were written in terms of the original files.
    pub(crate) fn map_stacks(&mut self, maps: &SourceMaps) {
        for message in self.lines.iter_mut().flat_map(|line| &mut line.messages) {
            if let Some(mapped) = maps.map_text(message) {
                *message = mapped;
            }
        }
    }

    pub(crate) fn lines(&self) -> &[LogLine] {
        &self.lines
    }

    pub(crate) fn into_lines(self) -> Vec<LogLine> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_too_many_are_dropped_with_one_notice() {
        let mut log = LogLines::new(3);
        for text in ["one", "two", "three", "four"] {
            log.push_console(ConsoleLine {
                level: ConsoleLevel::Log,
                messages: vec![text.to_owned()],
                is_truncated: false,
            });
        }
        let lines: Vec<_> = log.into_lines().iter().map(LogLine::to_client_line).collect();
        assert_eq!(lines[..2], ["[LOG] one", "[LOG] two"]);
        assert!(lines[2].starts_with("[ERROR] The log is full (3 lines)"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }
}
