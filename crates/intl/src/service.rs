//! Answers the isolate's requests.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use icu_casemap::CaseMapper;
use lru::LruCache;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::collator::Order;
use crate::date::DateFormat;
use crate::decimal::Number;
use crate::error::{Error, Result};
use crate::interval::Range;
use crate::limits::{FORMATTER_BYTES_MAX, FORMATTERS_MAX};
use crate::list::ListFormat;
use crate::locale;
use crate::names::Names;
use crate::number::NumberFormat;
use crate::part::Parts;
use crate::plural::PluralFormat;
use crate::relative::RelativeFormat;
use crate::segment::Segmenter;
use crate::tags;

/// What a formatter is made of. The guest keeps this text; a formatter is only a cache of what follows from it.
#[derive(Deserialize)]
struct Description {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    locales: Vec<String>,
    #[serde(default)]
    options: Value,
}

enum Formatter {
    Date(Box<DateFormat>),
    Number(Box<NumberFormat>),
    Plural(PluralFormat),
    List(ListFormat),
    Relative(Box<RelativeFormat>),
    Collator(Order),
    Segmenter(Segmenter),
    Names(Names),
}

thread_local! {
    /// The formatters that isolates of this thread used last. An answer never depends on whether one is here.
    static FORMATTERS: RefCell<LruCache<String, Rc<Formatter>>> =
        RefCell::new(LruCache::new(NonZeroUsize::new(FORMATTERS_MAX).expect("it is not zero")));
}

fn options<'o, T: Deserialize<'o> + Default>(value: &'o Value) -> Result<T> {
    if value.is_null() {
        return Ok(T::default());
    }
    T::deserialize(value).map_err(|error| Error::Type(format!("options of Intl: {error}")))
}

impl Formatter {
    fn make(description: &Description) -> Result<Formatter> {
        let (locales, with) = (&description.locales, &description.options);
        Ok(match description.kind.as_str() {
            "date" => Formatter::Date(Box::new(DateFormat::new(locales, options(with)?)?)),
            "number" => Formatter::Number(Box::new(NumberFormat::new(locales, options(with)?)?)),
            "plural" => Formatter::Plural(PluralFormat::new(locales, options(with)?)?),
            "list" => Formatter::List(ListFormat::new(locales, options(with)?)?),
            "relative" => Formatter::Relative(Box::new(RelativeFormat::new(locales, options(with)?)?)),
            "collator" => Formatter::Collator(Order::new(locales, options(with)?)?),
            "segmenter" => Formatter::Segmenter(Segmenter::new(locales, options(with)?)?),
            "names" => Formatter::Names(Names::new(locales, options(with)?)?),
            kind => return Err(Error::Type(format!("Intl has no {kind}"))),
        })
    }

    fn of(text: &str) -> Result<Rc<Formatter>> {
        let kept = FORMATTERS.with_borrow_mut(|formatters| formatters.get(text).cloned());
        if let Some(formatter) = kept {
            return Ok(formatter);
        }
        let formatter = Rc::new(Formatter::make(&parse(text)?)?);
        if text.len() <= FORMATTER_BYTES_MAX {
            FORMATTERS.with_borrow_mut(|formatters| formatters.put(text.to_owned(), formatter.clone()));
        }
        Ok(formatter)
    }

    fn resolved(&self) -> Value {
        match self {
            Formatter::Date(format) => format.resolved(),
            Formatter::Number(format) => format.resolved(),
            Formatter::Plural(format) => format.resolved(),
            Formatter::List(format) => format.resolved(),
            Formatter::Relative(format) => format.resolved(),
            Formatter::Collator(order) => order.resolved(),
            Formatter::Segmenter(segmenter) => segmenter.resolved(),
            Formatter::Names(names) => names.resolved(),
        }
    }

    fn call(&self, method: &str, text: &str) -> Result<String> {
        if method == "resolve" {
            return Ok(self.resolved().to_string());
        }
        let shown = |parts: Parts| {
            if method.ends_with("Parts") {
                serde_json::to_string(&parts.0).unwrap_or_default()
            } else {
                parts.text()
            }
        };
        let time = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let number = |value: &Value| Number::parse(value.as_str().unwrap_or_default());
        Ok(match (self, method) {
            (Formatter::Segmenter(segmenter), _) => json!(segmenter.segment(text)).to_string(),
            (Formatter::Number(format), "format" | "formatToParts") => {
                shown(format.format(&Number::parse(text)?))
            }
            // As V8: the narrow space that is there since CLDR 42 is too new for many readers of such texts.
            (Formatter::Date(format), "format") => {
                format.format(text.parse().unwrap_or(f64::NAN))?.text().replace('\u{202f}', " ")
            }
            (Formatter::Date(format), "formatToParts") => {
                shown(format.format(text.parse().unwrap_or(f64::NAN))?)
            }
            _ => {
                let values: Vec<Value> = parse(text)?;
                let value = |place: usize| values.get(place).unwrap_or(&Value::Null);
                let word = |place: usize| value(place).as_str().unwrap_or_default();
                match self {
                    Formatter::Date(format) => match format.format_range(time(value(0)), time(value(1)))? {
                        Range::One(parts) if method == "formatRange" => parts.text().replace('\u{202f}', " "),
                        Range::One(parts) | Range::Two(parts) => shown(parts),
                    },
                    Formatter::Number(format) => {
                        shown(format.format_range(&number(value(0))?, &number(value(1))?)?)
                    }
                    Formatter::Plural(format) if method == "selectRange" => {
                        format.select_range(&number(value(0))?, &number(value(1))?)?.into()
                    }
                    Formatter::Plural(format) => format.select(&number(value(0))?).into(),
                    Formatter::List(format) => {
                        let elements: Vec<String> = values
                            .iter()
                            .map(|value| value.as_str().unwrap_or_default().to_owned())
                            .collect();
                        shown(format.format(&elements))
                    }
                    Formatter::Relative(format) => shown(format.format(&number(value(0))?, word(1))?),
                    Formatter::Collator(order) => order.compare(word(0), word(1)).to_string(),
                    Formatter::Names(names) => json!(names.of(word(0))?).to_string(),
                    Formatter::Segmenter(_) => String::new(),
                }
            }
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Type(format!("a request to Intl: {error}")))
}

/// Answers a request of platform/intl.js: `what` is the method, a space, and what the formatter is made of; or what is asked of
/// tags. Takes time in proportion to its texts, on the time of who asks.
pub fn answer(what: &[u8], text: &[u8]) -> Result<String> {
    let (what, text) = (String::from_utf8_lossy(what), String::from_utf8_lossy(text));
    let (method, rest) = what.split_once(' ').unwrap_or((&what, ""));
    match method {
        "canonical" => Ok(locale::canonical(&text)?.to_string()),
        "locale" => tags::with_options(rest, &parse(&text)?),
        "describe" => Ok(tags::describe(&text)?.to_string()),
        "supported" => Ok(json!(tags::supported(&parse::<Vec<String>>(&text)?)?).to_string()),
        "values" => Ok(json!(tags::values(&text)?).to_string()),
        "currencyDigits" => Ok(crate::number::currency_digits(&text).to_string()),
        "upper" | "lower" => {
            let language = locale::canonical(rest)?.id;
            let mapper = CaseMapper::new();
            Ok(if method == "upper" {
                mapper.uppercase_to_string(&text, &language).into_owned()
            } else {
                mapper.lowercase_to_string(&text, &language).into_owned()
            })
        }
        _ => Formatter::of(rest)?.call(method, &text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(what: &str, text: &str) -> String {
        answer(what.as_bytes(), text.as_bytes()).unwrap_or_else(|error| format!("{}: {error}", error.name()))
    }

    #[test]
    fn formatters_are_asked_by_what_they_are_made_of() {
        let number = r#"{"type":"number","locales":["de"],"options":{"style":"currency","currency":"EUR"}}"#;
        assert_eq!(ask(&format!("format {number}"), "1234.5"), "1.234,50\u{a0}€");
        let date =
            r#"{"type":"date","locales":["en-US"],"options":{"dateStyle":"long","timeZone":"Asia/Tokyo"}}"#;
        assert_eq!(ask(&format!("format {date}"), "0"), "January 1, 1970");
        assert_eq!(ask(&format!("format {date}"), "NaN"), "RangeError: Invalid time value");
        assert_eq!(ask("canonical", "EN-us"), "en-US");
        assert_eq!(ask("upper tr", "i"), "İ");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for what in ["format", "format {}", "format []", "format {\"type\":\"x\"}", "", "locale x"] {
            let answer = ask(what, "[");
            assert!(answer.contains("Error: "), "{what}: {answer}");
        }
    }

    #[test]
    fn no_more_formatters_are_kept_than_the_limit() {
        for digits in 0..FORMATTERS_MAX * 3 {
            let options = json!({ "minimumFractionDigits": digits % 100, "maximumFractionDigits": 100, "unused": digits });
            let what = json!({ "type": "number", "locales": ["en"], "options": options });
            ask(&format!("format {what}"), "1");
        }
        assert_eq!(FORMATTERS.with_borrow(LruCache::len), FORMATTERS_MAX);
    }
}
