//! How many digits of a number are shown (SetNumberFormatDigitOptions of ECMA-402).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::decimal::{Decimal, RoundingMode};
use crate::error::{Error, Result};

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
pub struct DigitOptions {
    minimum_integer_digits: Option<u32>,
    minimum_fraction_digits: Option<u32>,
    maximum_fraction_digits: Option<u32>,
    minimum_significant_digits: Option<u32>,
    maximum_significant_digits: Option<u32>,
    rounding_increment: Option<u32>,
    rounding_mode: Option<String>,
    rounding_priority: Option<String>,
    trailing_zero_display: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fraction,
    Significant,
    MorePrecision,
    LessPrecision,
}

#[derive(Clone, Debug)]
pub struct Digits {
    kind: Kind,
    minimum_integer: u32,
    fraction: (u32, u32),
    significant: (u32, u32),
    increment: u32,
    mode: RoundingMode,
    mode_name: String,
    strips_zeros: bool,
}

const INCREMENTS: [u32; 15] = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 2500, 5000];

fn within(name: &str, value: u32, min: u32, max: u32) -> Result<u32> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(Error::range(format!("{name} value is out of range.")))
    }
}

impl Digits {
    pub fn resolve(
        options: &DigitOptions,
        fraction_min: u32,
        fraction_max: u32,
        notation: &str,
    ) -> Result<Digits> {
        let minimum_integer =
            within("minimumIntegerDigits", options.minimum_integer_digits.unwrap_or(1), 1, 21)?;
        let increment = options.rounding_increment.unwrap_or(1);
        if !INCREMENTS.contains(&increment) {
            return Err(Error::range("roundingIncrement value is out of range."));
        }
        let mode_name = options.rounding_mode.clone().unwrap_or_else(|| "halfExpand".into());
        let mode = RoundingMode::of(&mode_name).ok_or_else(|| {
            Error::range(format!("Value {mode_name} out of range for options property roundingMode"))
        })?;
        let priority = options.rounding_priority.as_deref().unwrap_or("auto");
        let fraction_max = if increment == 1 { fraction_max } else { fraction_min };
        let has_significant =
            options.minimum_significant_digits.is_some() || options.maximum_significant_digits.is_some();
        let has_fraction =
            options.minimum_fraction_digits.is_some() || options.maximum_fraction_digits.is_some();
        let (mut need_significant, mut need_fraction) = (true, true);
        if priority == "auto" {
            need_significant = has_significant;
            if need_significant || (!has_fraction && notation == "compact") {
                need_fraction = false;
            }
        }
        let mut significant = (1, 21);
        if need_significant && has_significant {
            let min =
                within("minimumSignificantDigits", options.minimum_significant_digits.unwrap_or(1), 1, 21)?;
            let max = within(
                "maximumSignificantDigits",
                options.maximum_significant_digits.unwrap_or(21),
                min,
                21,
            )?;
            significant = (min, max);
        }
        let mut fraction = (fraction_min, fraction_max);
        if need_fraction && has_fraction {
            let min =
                options.minimum_fraction_digits.map(|value| within("minimumFractionDigits", value, 0, 100));
            let max =
                options.maximum_fraction_digits.map(|value| within("maximumFractionDigits", value, 0, 100));
            fraction = match (min.transpose()?, max.transpose()?) {
                (None, Some(max)) => (fraction_min.min(max), max),
                (Some(min), None) => (min, fraction_max.max(min)),
                (Some(min), Some(max)) if min > max => {
                    return Err(Error::range("maximumFractionDigits value is out of range."));
                }
                (Some(min), Some(max)) => (min, max),
                (None, None) => fraction,
            };
        }
        let kind = if !need_significant && !need_fraction {
            (fraction, significant) = ((0, 0), (1, 2));
            Kind::MorePrecision
        } else {
            match priority {
                "morePrecision" => Kind::MorePrecision,
                "lessPrecision" => Kind::LessPrecision,
                _ if has_significant => Kind::Significant,
                _ => Kind::Fraction,
            }
        };
        if increment != 1 {
            if kind != Kind::Fraction {
                return Err(Error::Type("roundingIncrement value is invalid.".into()));
            }
            if fraction.0 != fraction.1 {
                return Err(Error::range("maximumFractionDigits value is out of range."));
            }
        }
        Ok(Digits {
            kind,
            minimum_integer,
            fraction,
            significant,
            increment,
            mode,
            mode_name,
            strips_zeros: options.trailing_zero_display.as_deref() == Some("stripIfInteger"),
        })
    }

    /// Whether the significant digits decide about a number.
    fn is_significant(&self, decimal: &Decimal) -> bool {
        let significant = decimal.magnitude() - i64::from(self.significant.1) + 1;
        let fraction = -i64::from(self.fraction.1);
        match self.kind {
            Kind::Fraction => false,
            Kind::Significant => true,
            Kind::MorePrecision => significant <= fraction,
            Kind::LessPrecision => significant > fraction,
        }
    }

    pub fn round(&self, decimal: &Decimal) -> Decimal {
        if self.is_significant(decimal) {
            decimal.round_significant(self.significant.1, self.mode)
        } else {
            decimal.round(-i64::from(self.fraction.1), self.increment, self.mode)
        }
    }

    /// The digits of a number before and after the point.
    pub fn texts(&self, decimal: &Decimal) -> (String, String) {
        let rounded = self.round(decimal);
        let minimum = if self.is_significant(decimal) {
            let least = i64::from(self.significant.0) - 1 - rounded.magnitude();
            usize::try_from(least).unwrap_or(0)
        } else {
            self.fraction.0 as usize
        };
        let (whole, mut fraction) = rounded.to_text(self.minimum_integer as usize, minimum);
        if self.strips_zeros && fraction.bytes().all(|digit| digit == b'0') {
            fraction.clear();
        }
        (whole, fraction)
    }

    /// Adds what resolvedOptions() says of digits; `between` what stands in the middle of it.
    pub fn describe(&self, resolved: &mut Value, between: impl FnOnce(&mut Value)) {
        resolved["minimumIntegerDigits"] = json!(self.minimum_integer);
        if self.kind != Kind::Significant {
            resolved["minimumFractionDigits"] = json!(self.fraction.0);
            resolved["maximumFractionDigits"] = json!(self.fraction.1);
        }
        if self.kind != Kind::Fraction {
            resolved["minimumSignificantDigits"] = json!(self.significant.0);
            resolved["maximumSignificantDigits"] = json!(self.significant.1);
        }
        between(resolved);
        resolved["roundingIncrement"] = json!(self.increment);
        resolved["roundingMode"] = json!(self.mode_name);
        resolved["roundingPriority"] = json!(match self.kind {
            Kind::MorePrecision => "morePrecision",
            Kind::LessPrecision => "lessPrecision",
            _ => "auto",
        });
        resolved["trailingZeroDisplay"] = json!(if self.strips_zeros { "stripIfInteger" } else { "auto" });
    }
}
