//! Bounds what a call writes to the console.

use crate::call::{CallLimits, ConsoleLevel, ConsoleLine};

/// Counts the lines of one call.
#[derive(Debug)]
pub struct Console {
    lines: usize,
    lines_max: usize,
    line_chars_max: usize,
}

impl Console {
    pub fn new(limits: &CallLimits) -> Console {
        Console { lines: 0, lines_max: limits.log_lines_max, line_chars_max: limits.log_line_chars_max }
    }

    /// The line to log for one call of a console function, if any: `level` is the level's name, `messages` JSON text
    /// of an array of strings.
    pub fn line(&mut self, level: &[u8], messages: &[u8]) -> Option<ConsoleLine> {
        self.lines += 1;
        if self.lines > self.lines_max {
            return None;
        }
        if self.lines == self.lines_max {
            return Some(ConsoleLine {
                level: ConsoleLevel::Error,
                messages: vec![format!(
                    "Log overflow: a function may write {} lines, the remaining ones are omitted.",
                    self.lines_max
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
        let (mut messages, is_truncated) = truncate(messages, self.line_chars_max);
        if let (true, Some(last)) = (is_truncated, messages.last_mut()) {
            last.push_str(&format!("… (cut: a line may have {} characters)", self.line_chars_max));
        }
        Some(ConsoleLine { level, messages, is_truncated })
    }
}

fn truncate(messages: Vec<String>, mut left: usize) -> (Vec<String>, bool) {
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

    fn console() -> Console {
        Console::new(&CallLimits { log_lines_max: 20, log_line_chars_max: 100, ..CallLimits::default() })
    }

    #[test]
    fn a_long_line_loses_its_end_and_says_so() {
        let long = "ä".repeat(99);
        let messages = serde_json::to_vec(&[&long, "bc", "d"]).expect("strings are JSON");
        let line = console().line(b"LOG", &messages).expect("the first line");
        assert!(line.is_truncated);
        assert_eq!(line.messages, [long, "b… (cut: a line may have 100 characters)".to_string()]);
    }

    #[test]
    fn the_last_line_says_that_lines_are_missing() {
        let mut console = console();
        let lines: Vec<_> = (0..30).filter_map(|_| console.line(b"WARN", b"[\"x\"]")).collect();
        assert_eq!(lines.len(), 20);
        assert_eq!(lines[0].level, ConsoleLevel::Warn);
        assert!(lines[19].messages[0].starts_with("Log overflow"));
    }
}
