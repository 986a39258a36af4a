//! `Intl.Collator`.

use std::cmp::Ordering;

use icu_collator::options::{AlternateHandling, CaseLevel, CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::locale::{self, Tag};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct CollatorFormatOptions {
    usage: Option<String>,
    collation: Option<String>,
    numeric: Option<bool>,
    case_first: Option<String>,
    sensitivity: Option<String>,
    ignore_punctuation: Option<bool>,
}

pub struct Order {
    resolved: Value,
    collator: CollatorBorrowed<'static>,
}

/// The orders that languages have beside their usual one.
const COLLATIONS: [(&str, &[&str]); 17] = [
    ("ar", &["compat"]),
    ("bn", &["trad"]),
    ("de", &["phonebk"]),
    ("es", &["trad"]),
    ("fi", &["trad"]),
    ("ja", &["unihan"]),
    ("kn", &["trad"]),
    ("ko", &["unihan"]),
    ("ln", &["phonetic"]),
    ("nb", &["trad"]),
    ("no", &["trad"]),
    ("si", &["dict"]),
    ("sv", &["trad"]),
    ("ta", &["trad"]),
    ("vi", &["trad"]),
    ("yue", &["pinyin", "stroke", "unihan", "zhuyin"]),
    ("zh", &["pinyin", "stroke", "unihan", "zhuyin"]),
];

/// Those that the data of ICU4X has.
pub fn collations(language: &str) -> Vec<&'static str> {
    let mut names = vec!["emoji", "eor"];
    if let Some((_, own)) = COLLATIONS.iter().find(|(name, _)| *name == language) {
        names.extend(own.iter().filter(|name| **name != "unihan"));
    }
    names.sort_unstable();
    names
}

pub fn all_collations() -> Vec<&'static str> {
    let mut names: Vec<&str> = COLLATIONS.iter().flat_map(|(language, _)| collations(language)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Order {
    pub fn new(locales: &[String], options: CollatorFormatOptions) -> Result<Order> {
        let chosen = locale::choose(locales)?;
        if options.usage.as_deref() == Some("search") {
            return Err(Error::range("the usage \"search\" is not available in Intl.Collator: \"sort\" is"));
        }
        let mut keys = Vec::new();
        let own = collations(chosen.language());
        let is_own = |name: &str| own.contains(&name);
        if let Some(name) = options.collation.as_deref().or(chosen.keyword("co"))
            && name == "unihan"
        {
            return Err(Error::range("the collation unihan is not available in Intl.Collator"));
        }
        let collation = locale::key_value(&chosen, "co", options.collation.as_deref(), &mut keys, is_own);
        let numeric = options.numeric.map(|numeric| if numeric { "true" } else { "false" });
        let numeric =
            locale::key_value(&chosen, "kn", numeric, &mut keys, |value| matches!(value, "true" | "false"));
        let case_first =
            locale::key_value(&chosen, "kf", options.case_first.as_deref(), &mut keys, |value| {
                matches!(value, "upper" | "lower" | "false")
            });

        let asked: Vec<String> = [("co", &collation), ("kf", &case_first), ("kn", &numeric)]
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}-{}", value.as_ref()?)))
            .collect();
        let name = if asked.is_empty() {
            chosen.name.clone()
        } else {
            format!("{}-u-{}", chosen.name, asked.join("-"))
        };
        let tag =
            Tag::try_from_str(&name).map_err(|_| Error::range(format!("the locale {name} is not known")))?;
        let mut with = CollatorOptions::default();
        let sensitivity = options.sensitivity.as_deref().unwrap_or("variant");
        with.strength = Some(match sensitivity {
            "base" | "case" => Strength::Primary,
            "accent" => Strength::Secondary,
            _ => Strength::Tertiary,
        });
        with.case_level = Some(if sensitivity == "case" { CaseLevel::On } else { CaseLevel::Off });
        with.alternate_handling = options
            .ignore_punctuation
            .map(|ignore| if ignore { AlternateHandling::Shifted } else { AlternateHandling::NonIgnorable });
        let collator = Collator::try_new(CollatorPreferences::from(&tag), with)
            .map_err(|error| Error::range(format!("the order of {name}: {error}")))?;
        let used = collator.resolved_options();
        let ignores = used.alternate_handling == AlternateHandling::Shifted;
        let resolved = json!({
            "locale": locale::shown_name(&chosen.name, &keys),
            "usage": "sort",
            "sensitivity": sensitivity,
            "ignorePunctuation": ignores,
            "collation": collation.as_deref().unwrap_or("default"),
            "numeric": numeric.as_deref() == Some("true"),
            "caseFirst": case_first.unwrap_or_else(|| {
                use icu_collator::preferences::CollationCaseFirst;
                match used.case_first {
                    CollationCaseFirst::Upper => "upper".into(),
                    CollationCaseFirst::Lower => "lower".into(),
                    _ => "false".into(),
                }
            }),
        });
        Ok(Order { resolved, collator })
    }

    pub fn compare(&self, one: &str, other: &str) -> i32 {
        match self.collator.compare(one, other) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    pub fn resolved(&self) -> Value {
        self.resolved.clone()
    }
}
