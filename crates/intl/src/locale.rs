//! Which locale is used where several are asked for.

use std::sync::LazyLock;

use icu_locale::extensions::unicode::Key;
use icu_locale::{LocaleCanonicalizer, LocaleExpander};

use crate::data::{self, supplement};
use crate::error::{Error, Result};

pub use icu_locale::Locale as Tag;

pub const DEFAULT: &str = "en-US";

static CANONICALIZER: LazyLock<LocaleCanonicalizer> = LazyLock::new(LocaleCanonicalizer::new_extended);
static EXPANDER: LazyLock<LocaleExpander> = LazyLock::new(LocaleExpander::new_extended);

/// A tag in its canonical form.
pub fn canonical(tag: &str) -> Result<Tag> {
    let incorrect = || Error::range("Incorrect locale information provided");
    let begins_with_letters = tag.split('-').next().is_some_and(|first| {
        matches!(first.len(), 2 | 3 | 5..=8) && first.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    if !begins_with_letters || tag.contains('_') || tag.len() > 1000 {
        return Err(incorrect());
    }
    let mut locale = Tag::try_from_str(tag).map_err(|_| incorrect())?;
    CANONICALIZER.canonicalize(&mut locale);
    Ok(locale)
}

pub fn maximize(tag: &mut Tag) {
    EXPANDER.maximize(&mut tag.id);
}

pub fn minimize(tag: &mut Tag) {
    EXPANDER.minimize(&mut tag.id);
}

/// The value of a key of a tag's Unicode extension; "true" where it has none.
pub fn keyword(tag: &Tag, key: &str) -> Option<String> {
    let key: Key = key.parse().ok()?;
    let value = tag.extensions.unicode.keywords.get(&key)?.to_string();
    Some(if value.is_empty() { "true".into() } else { value })
}

/// A locale that is there: its name, and what CLDR says in it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Without extensions.
    pub name: String,
    pub data: data::Locale,
    /// The keys of the tag that was asked for.
    pub keywords: Vec<(String, String)>,
}

impl Chosen {
    pub fn tag(&self) -> Tag {
        Tag::try_from_str(&self.name).unwrap_or(Tag::UNKNOWN)
    }

    pub fn keyword(&self, key: &str) -> Option<&str> {
        self.keywords.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The region that is meant, or the likeliest one.
    pub fn region(&self) -> String {
        let mut tag = self.tag();
        maximize(&mut tag);
        tag.id.region.map_or_else(|| "001".into(), |region| region.to_string())
    }

    pub fn language(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }
}

fn is_there(name: &str) -> Option<data::Locale> {
    if name == "supplement" || name == "und" {
        return None;
    }
    if let Some(locale) = data::Locale::find(name) {
        return Some(locale);
    }
    if supplement(&format!("content/{name}")).is_some() {
        let mut shorter = name;
        while let Some((rest, _)) = shorter.rsplit_once('-') {
            if let Some(locale) = data::Locale::find(rest) {
                return Some(locale);
            }
            shorter = rest;
        }
    }
    None
}

/// What CLDR has for a name: by itself, or with the script that is likely there ("zh-TW").
fn find(name: &str) -> Option<data::Locale> {
    if let Some(locale) = is_there(name) {
        return Some(locale);
    }
    let mut tag = Tag::try_from_str(name).ok()?;
    if tag.id.script.is_some() || tag.id.region.is_none() || !tag.id.variants.is_empty() {
        return None;
    }
    maximize(&mut tag);
    is_there(&tag.id.to_string())
}

/// The longest beginning of a tag that is there.
pub fn best_available(tag: &Tag) -> Option<(String, data::Locale)> {
    let name = tag.id.to_string();
    let mut rest = name.as_str();
    loop {
        if let Some(locale) = find(rest) {
            return Some((rest.to_owned(), locale));
        }
        rest = rest.rsplit_once('-')?.0;
    }
}

/// The first of the tags asked for that is there, else the default.
pub fn choose(tags: &[String]) -> Result<Chosen> {
    for tag in tags {
        let tag = canonical(tag)?;
        if let Some((name, data)) = best_available(&tag) {
            let keywords = tag
                .extensions
                .unicode
                .keywords
                .iter()
                .map(|(key, value)| {
                    let value = value.to_string();
                    (key.to_string(), if value.is_empty() { "true".into() } else { value })
                })
                .collect();
            return Ok(Chosen { name, data, keywords });
        }
    }
    let data = find(DEFAULT).ok_or_else(|| Error::range("the default locale is missing"))?;
    Ok(Chosen { name: DEFAULT.into(), data, keywords: Vec::new() })
}

/// Chooses the value of a key: the option if it is allowed, else what the tag says. Gives the value, and notes in `shown` what the
/// resolved locale says of it.
pub fn key_value(
    chosen: &Chosen,
    key: &str,
    option: Option<&str>,
    shown: &mut Vec<(String, String)>,
    is_allowed: impl Fn(&str) -> bool,
) -> Option<String> {
    let asked = chosen.keyword(key).filter(|value| is_allowed(value)).map(str::to_owned);
    let option = option.filter(|value| is_allowed(value)).map(str::to_owned);
    if let Some(asked) = &asked
        && option.as_ref().is_none_or(|option| option == asked)
    {
        shown.push((key.into(), asked.clone()));
    }
    option.or(asked)
}

/// The name of a resolved locale with its keys.
pub fn shown_name(name: &str, shown: &[(String, String)]) -> String {
    if shown.is_empty() {
        return name.to_owned();
    }
    let mut keys = shown.to_vec();
    keys.sort();
    let keys: Vec<String> = keys
        .into_iter()
        .map(|(key, value)| if value == "true" { key } else { format!("{key}-{value}") })
        .collect();
    format!("{name}-u-{}", keys.join("-"))
}

/// The ten digits of a numbering system.
pub fn digits(system: &str) -> Option<[char; 10]> {
    let digits: Vec<char> = supplement(&format!("digits/{system}"))?.chars().collect();
    digits.try_into().ok()
}

pub fn numbering_system(
    chosen: &Chosen,
    option: Option<&str>,
    shown: &mut Vec<(String, String)>,
) -> Result<String> {
    let system = key_value(chosen, "nu", option, shown, |value| digits(value).is_some());
    Ok(system.unwrap_or_else(|| {
        chosen
            .data
            .get("n/defaultNumberingSystem")
            .filter(|system| digits(system).is_some())
            .unwrap_or("latn")
            .into()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(tag: &str) -> (String, &'static str) {
        let chosen = choose(&[tag.into()]).expect("a tag");
        (chosen.name, chosen.data.name())
    }

    #[test]
    fn the_nearest_locale_that_is_there_is_chosen() {
        assert_eq!(chosen("en-US"), ("en-US".into(), "en"));
        assert_eq!(chosen("de-DE-u-nu-latn"), ("de-DE".into(), "de"));
        assert_eq!(chosen("zh-TW"), ("zh-TW".into(), "zh-Hant"));
        assert_eq!(chosen("de-BR"), ("de".into(), "de"));
        assert_eq!(chosen("iw"), ("he".into(), "he"));
        assert_eq!(chosen("xx"), ("en-US".into(), "en"));
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for wrong in ["", "e", "en_US", "root", "en-", "123", "en-u"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
