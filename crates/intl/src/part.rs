//! A formatted text, in parts as `formatToParts` gives them.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub value: String,
    /// Of a range: which of its ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(pub Vec<Part>);

impl Parts {
    pub fn push(&mut self, kind: &'static str, value: impl Into<String>) {
        let value = value.into();
        if value.is_empty() {
            return;
        }
        match self.0.last_mut() {
            // Neighbouring literals are one.
            Some(last) if last.kind == "literal" && kind == "literal" => last.value.push_str(&value),
            _ => self.0.push(Part { kind, value, source: None, unit: None }),
        }
    }

    /// A text of a kind, whose spaces at both ends are literals.
    pub fn push_trimmed(&mut self, kind: &'static str, value: &str) {
        let is_space = |character: char| {
            character.is_whitespace() || matches!(character, '\u{200e}' | '\u{200f}' | '\u{61c}')
        };
        let rest = value.trim_start_matches(is_space);
        self.push("literal", &value[..value.len() - rest.len()]);
        let inner = rest.trim_end_matches(is_space);
        self.push(kind, inner);
        self.push("literal", &rest[inner.len()..]);
    }

    pub fn extend(&mut self, parts: Parts) {
        for part in parts.0 {
            match self.0.last_mut() {
                Some(last)
                    if last.kind == "literal" && part.kind == "literal" && last.source == part.source =>
                {
                    last.value.push_str(&part.value);
                }
                _ => self.0.push(part),
            }
        }
    }

    pub fn with_source(mut self, source: &'static str) -> Parts {
        self.0.iter_mut().for_each(|part| part.source = Some(source));
        self
    }

    pub fn text(&self) -> String {
        self.0.iter().map(|part| part.value.as_str()).collect()
    }
}

/// A pattern like `{0} of {1}`: its literals, and what stands between them.
pub fn fill(pattern: &str, mut put: impl FnMut(&mut Parts, usize)) -> Parts {
    fill_as(pattern, "literal", &mut put)
}

pub fn fill_as(pattern: &str, kind: &'static str, put: &mut dyn FnMut(&mut Parts, usize)) -> Parts {
    let mut parts = Parts::default();
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let place = rest[open + 1..].chars().next().and_then(|digit| digit.to_digit(10));
        let (Some(place), Some(close)) = (place, rest[open..].find('}')) else { break };
        push_literal(&mut parts, kind, &rest[..open]);
        put(&mut parts, place as usize);
        rest = &rest[open + close + 1..];
    }
    push_literal(&mut parts, kind, rest);
    parts
}

fn push_literal(parts: &mut Parts, kind: &'static str, text: &str) {
    if kind == "literal" { parts.push(kind, unquote(text)) } else { parts.push_trimmed(kind, text) }
}

/// A literal of a pattern without its quotes.
pub fn unquote(text: &str) -> String {
    if !text.contains('\'') {
        return text.to_owned();
    }
    let mut result = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\'' {
            result.push(character);
        } else if characters.peek() == Some(&'\'') {
            characters.next();
            result.push('\'');
        }
    }
    result
}
