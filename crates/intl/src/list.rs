//! `Intl.ListFormat`.

use std::fmt;

use icu_list::options::{ListFormatterOptions, ListLength};
use icu_list::{ListFormatter, parts};
use serde::Deserialize;
use serde_json::{Value, json};
use writeable::{PartsWrite, Writeable};

use crate::error::{Error, Result};
use crate::locale;
use crate::part::Parts;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ListOptions {
    #[serde(rename = "type")]
    kind: Option<String>,
    style: Option<String>,
}

pub struct ListFormat {
    locale: String,
    kind: String,
    style: String,
    formatter: ListFormatter,
}

impl ListFormat {
    pub fn new(locales: &[String], options: ListOptions) -> Result<ListFormat> {
        let chosen = locale::choose(locales)?;
        let kind = options.kind.unwrap_or_else(|| "conjunction".into());
        let style = options.style.unwrap_or_else(|| "long".into());
        let length = match style.as_str() {
            "narrow" => ListLength::Narrow,
            "short" => ListLength::Short,
            _ => ListLength::Wide,
        };
        let with = ListFormatterOptions::default().with_length(length);
        let preferences = (&chosen.tag()).into();
        let formatter = match kind.as_str() {
            "disjunction" => ListFormatter::try_new_or(preferences, with),
            "unit" => ListFormatter::try_new_unit(preferences, with),
            _ => ListFormatter::try_new_and(preferences, with),
        }
        .map_err(|error| Error::range(format!("the patterns of lists in {}: {error}", chosen.name)))?;
        Ok(ListFormat { locale: chosen.name, kind, style, formatter })
    }

    pub fn format(&self, elements: &[String]) -> Parts {
        let mut collector = Collector::default();
        let formatted = self.formatter.format(elements.iter());
        formatted.write_to_parts(&mut collector).expect("writing to a string");
        // CLDR's hyphen of Hebrew lists doesn't break; ICU writes the one that all keyboards have.
        for part in collector.parts.0.iter_mut().filter(|part| part.kind == "literal") {
            part.value = part.value.replace('\u{2011}', "-");
        }
        let mut all = Parts::default();
        all.0.extend(
            collector.parts.0.into_iter().filter(|part| !(part.kind == "literal" && part.value.is_empty())),
        );
        all
    }

    pub fn resolved(&self) -> Value {
        json!({ "locale": self.locale, "type": self.kind, "style": self.style })
    }
}

/// Takes a text in parts from ICU4X.
#[derive(Default)]
struct Collector {
    parts: Parts,
    is_element: bool,
}

impl fmt::Write for Collector {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.parts.0.last_mut() {
            Some(last) if self.is_element && last.kind == "element" => last.value.push_str(text),
            _ => self.parts.push("literal", text),
        }
        Ok(())
    }
}

impl PartsWrite for Collector {
    type SubPartsWrite = Collector;

    fn with_part(
        &mut self,
        part: writeable::Part,
        mut write: impl FnMut(&mut Collector) -> fmt::Result,
    ) -> fmt::Result {
        if part != parts::ELEMENT {
            return write(self);
        }
        self.parts.0.push(crate::part::Part {
            kind: "element",
            value: String::new(),
            source: None,
            unit: None,
        });
        self.is_element = true;
        let result = write(self);
        self.is_element = false;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_parts_and_may_be_empty() {
        let format = ListFormat::new(&["en".into()], ListOptions::default()).expect("a format");
        let parts = format.format(&["a".into(), String::new(), "c".into()]);
        assert_eq!(parts.text(), "a, , and c");
        assert_eq!(parts.0.iter().filter(|part| part.kind == "element").count(), 3);
    }

    #[test]
    fn spanish_looks_at_what_follows() {
        let format = ListFormat::new(&["es".into()], ListOptions::default()).expect("a format");
        assert_eq!(format.format(&["Juan".into(), "Inés".into()]).text(), "Juan e Inés");
    }
}
