//! What a function and those that it calls write to the console.

use contract::{ConsoleLevel, ConsoleLine};

use crate::{Clock, source_map::SourceMaps};

/// The lines of one execution. What is too much is dropped, and a last line says so.
#[derive(Debug)]
pub(crate) struct LogLines {
    lines: Vec<ConsoleLine>,
    lines_max: usize,
    clock: Clock,
}

impl LogLines {
    /// At most `lines_max` lines, the notice included.
    pub(crate) fn new(lines_max: usize, clock: Clock) -> LogLines {
        LogLines { lines: Vec::new(), lines_max, clock }
    }

    pub(crate) fn push_console(&mut self, line: isolate::ConsoleLine) {
        let level = match line.level {
            isolate::ConsoleLevel::Debug => ConsoleLevel::Debug,
            isolate::ConsoleLevel::Log => ConsoleLevel::Log,
            isolate::ConsoleLevel::Info => ConsoleLevel::Info,
            isolate::ConsoleLevel::Warn => ConsoleLevel::Warn,
            isolate::ConsoleLevel::Error => ConsoleLevel::Error,
        };
        self.push(level, line.messages, line.is_truncated);
    }

    /// A line of the host's.
    pub(crate) fn push_warning(&mut self, message: String) {
        self.push(ConsoleLevel::Warn, vec![message], false);
    }

    /// A line of the function's, or of the host's.
    pub(crate) fn push(&mut self, level: ConsoleLevel, messages: Vec<String>, truncated: bool) {
        let logged_at_ms = self.clock.now_ms();
        let line = |level, messages, truncated| ConsoleLine { level, messages, truncated, logged_at_ms };
        if self.lines.len() + 1 < self.lines_max {
            self.lines.push(line(level, messages, truncated));
        } else if self.lines.len() < self.lines_max {
            let notice = format!("The log is full ({} lines); further lines were dropped.", self.lines_max);
            self.lines.push(line(ConsoleLevel::Error, vec![notice], false));
        }
        assert!(self.lines.len() <= self.lines_max, "the notice is the last line");
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

    pub(crate) fn lines(&self) -> &[ConsoleLine] {
        &self.lines
    }

    pub(crate) fn into_lines(self) -> Vec<ConsoleLine> {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn lines_that_are_too_many_are_dropped_with_one_notice() {
        let mut log = LogLines::new(3, Clock::new(|| SystemTime::UNIX_EPOCH));
        for text in ["one", "two", "three", "four"] {
            log.push_console(isolate::ConsoleLine {
                level: isolate::ConsoleLevel::Log,
                messages: vec![text.to_owned()],
                is_truncated: false,
            });
        }
        let lines: Vec<_> = log.into_lines().iter().map(ConsoleLine::to_client_line).collect();
        assert_eq!(lines[..2], ["[LOG] one", "[LOG] two"]);
        assert!(lines[2].starts_with("[ERROR] The log is full (3 lines)"), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }
}
