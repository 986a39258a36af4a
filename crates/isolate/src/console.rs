//! Bounds what a call writes to the console.

use limits::FunctionLimits;

use crate::call::{ConsoleLevel, ConsoleLine};

/// The most lines of a call that reach the log, the notice about the others included.
const LINES_MAX: usize = FunctionLimits::DEFAULT.log_lines_max;

/// The most characters of a line, over all its messages.
const LINE_CHARACTERS_MAX: usize = FunctionLimits::DEFAULT.log_line_chars_max;

/// Counts the lines of one call.
#[derive(Debug, Default)]
pub struct Console {
    lines: usize,
}

impl Console {
    /// The line to log for one call of a console function, if any: `level` is the level's name, `messages` JSON text
    /// of an array of strings.
    pub fn line(&mut self, level: &[u8], messages: &[u8]) -> Option<ConsoleLine> {
        self.lines += 1;
        if self.lines > LINES_MAX {
            return None;
        }
        if self.lines == LINES_MAX {
            return Some(ConsoleLine {
                level: ConsoleLevel::Error,
                messages: vec![format!(
                    "Log overflow: a function may write {LINES_MAX} lines, the remaining ones are omitted."
                )],
                is_truncated: false,
            });
        }
        let level = match level {
            b"DEBUG" => ConsoleLevel::Debug,
            b"INFO" => ConsoleLevel::Info,
            b"WARN" => ConsoleLevel::Warn,
            b"ERROR" => ConsoleLevel::Error,
            _ => ConsoleLevel::Log,
        };
        let messages = serde_json::from_slice(messages).unwrap_or_else(|_| {
            // Lone surrogates have no UTF-8.
            vec![String::from_utf8_lossy(messages).into_owned()]
        });
        let (messages, is_truncated) = truncate(messages);
        Some(ConsoleLine { level, messages, is_truncated })
    }
}

fn truncate(messages: Vec<String>) -> (Vec<String>, bool) {
    let mut left = LINE_CHARACTERS_MAX;
    let mut kept = Vec::with_capacity(messages.len());
    for mut message in messages {
        if let Some((end, _)) = message.char_indices().nth(left) {
            message.truncate(end);
            kept.push(message);
            return (kept, true);
        }
        left -= message.chars().count();
        kept.push(message);
    }
    (kept, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_loses_its_end() {
        let long = "ä".repeat(LINE_CHARACTERS_MAX - 1);
        let messages = serde_json::to_vec(&[&long, "bc", "d"]).expect("strings are JSON");
        let line = Console::default().line(b"LOG", &messages).expect("the first line");
        assert!(line.is_truncated);
        assert_eq!(line.messages, [long, "b".to_string()]);
    }

    #[test]
    fn the_last_line_says_that_lines_are_missing() {
        let mut console = Console::default();
        let lines: Vec<_> = (0..300).filter_map(|_| console.line(b"WARN", b"[\"x\"]")).collect();
        assert_eq!(lines.len(), LINES_MAX);
        assert_eq!(lines[0].level, ConsoleLevel::Warn);
        assert!(lines[LINES_MAX - 1].messages[0].starts_with("Log overflow"));
    }
}
