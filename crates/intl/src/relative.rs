//! `Intl.RelativeTimeFormat`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::decimal::Number;
use crate::digits::Digits;
use crate::error::{Error, Result};
use crate::locale::{self, Chosen};
use crate::number::{NumberFormat, Symbols};
use crate::part::{Parts, fill};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct RelativeOptions {
    numbering_system: Option<String>,
    style: Option<String>,
    numeric: Option<String>,
}

pub struct RelativeFormat {
    shown: String,
    chosen: Chosen,
    style: String,
    numeric: String,
    system: String,
    numbers: NumberFormat,
    digits: Digits,
}

impl RelativeFormat {
    pub fn new(locales: &[String], options: RelativeOptions) -> Result<RelativeFormat> {
        let chosen = locale::choose(locales)?;
        let mut keys = Vec::new();
        let system = locale::numbering_system(&chosen, options.numbering_system.as_deref(), &mut keys)?;
        let numbers = NumberFormat::plain(&chosen, Symbols::new(chosen.data, &system)?)?;
        Ok(RelativeFormat {
            shown: locale::shown_name(&chosen.name, &keys),
            style: options.style.unwrap_or_else(|| "long".into()),
            numeric: options.numeric.unwrap_or_else(|| "always".into()),
            digits: Digits::resolve(&Default::default(), 0, 3, "standard")?,
            chosen,
            system,
            numbers,
        })
    }

    pub fn format(&self, number: &Number, unit: &str) -> Result<Parts> {
        let singular = unit.strip_suffix('s').unwrap_or(unit);
        if !["second", "minute", "hour", "day", "week", "month", "quarter", "year"].contains(&singular) {
            return Err(Error::range(format!(
                "Invalid unit argument for Intl.RelativeTimeFormat.prototype.format() '{unit}'"
            )));
        }
        let Number::Finite(decimal) = number else {
            return Err(Error::range(
                "Value need to be finite number for Intl.RelativeTimeFormat.prototype.format()",
            ));
        };
        let key = match self.style.as_str() {
            "short" => format!("f/{singular}-short"),
            "narrow" => format!("f/{singular}-narrow"),
            _ => format!("f/{singular}"),
        };
        if self.numeric == "auto" && decimal.lowest() >= 0 && decimal.magnitude() == 0 {
            let sign = if decimal.negative && !decimal.is_zero() { "-" } else { "" };
            let word = self.chosen.data.get(&format!("{key}/relative-type-{sign}{}", decimal.digit(0)));
            if let Some(word) = word {
                let mut parts = Parts::default();
                parts.push("literal", word);
                return Ok(parts);
            }
        }
        let side = if decimal.negative { "past" } else { "future" };
        let absolute = decimal.absolute();
        let (whole, fraction) = self.digits.texts(&absolute);
        let plural = self.numbers.plurals().category(&whole, &fraction);
        let key = format!("{key}/relativeTime-type-{side}/relativeTimePattern-count-");
        let pattern = self
            .chosen
            .data
            .get(&format!("{key}{plural}"))
            .or_else(|| self.chosen.data.get(&format!("{key}other")))
            .unwrap_or("{0}");
        let mut shown = self.numbers.format(&Number::Finite(absolute));
        for part in &mut shown.0 {
            part.unit = Some(singular.into());
        }
        Ok(fill(pattern, |parts, _| parts.0.extend(shown.0.iter().cloned())))
    }

    pub fn resolved(&self) -> Value {
        json!({ "locale": self.shown, "style": self.style, "numeric": self.numeric, "numberingSystem": self.system })
    }
}
