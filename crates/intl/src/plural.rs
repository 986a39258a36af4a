//! Plural categories.

use icu_plurals::{PluralCategory, PluralOperands, PluralRuleType, PluralRules, PluralRulesWithRanges};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::decimal::Number;
use crate::digits::{DigitOptions, Digits};
use crate::error::{Error, Result};
use crate::locale::{self, Chosen};

pub struct Plurals(PluralRulesWithRanges<PluralRules>);

fn name(category: PluralCategory) -> &'static str {
    match category {
        PluralCategory::Zero => "zero",
        PluralCategory::One => "one",
        PluralCategory::Two => "two",
        PluralCategory::Few => "few",
        PluralCategory::Many => "many",
        PluralCategory::Other => "other",
    }
}

fn operands(whole: &str, fraction: &str) -> PluralOperands {
    // Rules look at the last digits alone, and whether there are more.
    let whole = if whole.len() > 15 { format!("1{}", &whole[whole.len() - 15..]) } else { whole.to_owned() };
    let fraction = &fraction[..fraction.len().min(15)];
    let text = if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") };
    fixed_decimal::Decimal::try_from_str(&text).map_or_else(|_| 0_u32.into(), |decimal| (&decimal).into())
}

impl Plurals {
    pub fn new(chosen: &Chosen, ordinal: bool) -> Result<Plurals> {
        let rules = if ordinal { PluralRuleType::Ordinal } else { PluralRuleType::Cardinal };
        PluralRulesWithRanges::try_new((&chosen.tag()).into(), rules.into())
            .map(Plurals)
            .map_err(|error| Error::range(format!("the plural rules of {}: {error}", chosen.name)))
    }

    pub fn category(&self, whole: &str, fraction: &str) -> &'static str {
        name(self.0.rules().category_for(operands(whole, fraction)))
    }

    pub fn range(&self, start: (&str, &str), end: (&str, &str)) -> &'static str {
        name(self.0.category_for_range(operands(start.0, start.1), operands(end.0, end.1)))
    }

    fn categories(&self) -> Vec<&'static str> {
        let has: Vec<&str> = self.0.rules().categories().map(name).collect();
        // In the order in which Node.js lists them.
        ["few", "many", "one", "two", "zero", "other"].into_iter().filter(|name| has.contains(name)).collect()
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct PluralOptions {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(flatten)]
    digits: DigitOptions,
}

/// `Intl.PluralRules`.
pub struct PluralFormat {
    locale: String,
    kind: String,
    is_ordinal: bool,
    plurals: Plurals,
    digits: Digits,
}

impl PluralFormat {
    pub fn new(locales: &[String], options: PluralOptions) -> Result<PluralFormat> {
        let chosen = locale::choose(locales)?;
        let digits = Digits::resolve(&options.digits, 0, 3, "standard")?;
        let kind = options.kind.unwrap_or_else(|| "cardinal".into());
        let is_ordinal = kind == "ordinal";
        let plurals = Plurals::new(&chosen, is_ordinal)?;
        // Rules are those of languages; Portuguese alone has two.
        let name = if chosen.name.starts_with("pt-PT") { "pt-PT" } else { chosen.language() };
        Ok(PluralFormat { locale: name.into(), kind, is_ordinal, plurals, digits })
    }

    fn texts(&self, number: &Number) -> Option<(String, String)> {
        match number {
            Number::Finite(decimal) => {
                let absolute = decimal.absolute();
                Some(self.digits.texts(&absolute))
            }
            _ => None,
        }
    }

    pub fn select(&self, number: &Number) -> &'static str {
        self.texts(number).map_or("other", |(whole, fraction)| self.plurals.category(&whole, &fraction))
    }

    pub fn select_range(&self, start: &Number, end: &Number) -> Result<&'static str> {
        if matches!(start, Number::NaN) || matches!(end, Number::NaN) {
            return Err(Error::range("Invalid argument to PluralRules.selectRange: NaN"));
        }
        match (self.texts(start), self.texts(end)) {
            // CLDR has no ranges of ordinals.
            (Some(start), Some(end)) if !self.is_ordinal => {
                Ok(self.plurals.range((&start.0, &start.1), (&end.0, &end.1)))
            }
            _ => Ok("other"),
        }
    }

    pub fn resolved(&self) -> Value {
        let mut resolved = json!({ "locale": self.locale, "type": self.kind });
        self.digits.describe(&mut resolved, |resolved| {
            resolved["pluralCategories"] = json!(self.plurals.categories());
        });
        resolved
    }
}
