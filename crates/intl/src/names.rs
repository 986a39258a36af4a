//! `Intl.DisplayNames`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::locale::{self, Chosen};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct NameOptions {
    #[serde(rename = "type")]
    kind: String,
    style: Option<String>,
    fallback: Option<String>,
    language_display: Option<String>,
}

pub struct Names {
    chosen: Chosen,
    kind: String,
    style: String,
    fallback: String,
    language_display: String,
}

impl Names {
    pub fn new(locales: &[String], options: NameOptions) -> Result<Names> {
        let chosen = locale::choose(locales)?;
        Ok(Names {
            chosen,
            kind: options.kind,
            style: options.style.unwrap_or_else(|| "long".into()),
            fallback: options.fallback.unwrap_or_else(|| "code".into()),
            language_display: options.language_display.unwrap_or_else(|| "dialect".into()),
        })
    }

    fn get(&self, key: &str) -> Option<&'static str> {
        let short =
            (self.style != "long").then(|| self.chosen.data.get(&format!("{key}-alt-short"))).flatten();
        short.or_else(|| self.chosen.data.get(key))
    }

    /// The name of a code; none where there is none and the code itself shall not stand for it.
    pub fn of(&self, code: &str) -> Result<Option<String>> {
        let invalid =
            || Error::range(format!("Invalid argument to Intl.DisplayNames.prototype.of: {code:.40}"));
        let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
        let (code, name) = match self.kind.as_str() {
            "language" => {
                if code.contains("-u-") || code.contains("-t-") || code.contains("-x-") {
                    return Err(invalid());
                }
                let tag = locale::canonical(code).map_err(|_| invalid())?;
                let code = tag.id.to_string();
                let name = self.language(&tag);
                (code, name)
            }
            "region" => {
                let code = code.to_ascii_uppercase();
                if !(code.len() == 2 && letters(&code)
                    || code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()))
                {
                    return Err(invalid());
                }
                let name = self.get(&format!("t/{code}"));
                (code, name.map(str::to_owned))
            }
            "script" => {
                if code.len() != 4 || !letters(code) {
                    return Err(invalid());
                }
                let code = format!("{}{}", code[..1].to_ascii_uppercase(), code[1..].to_ascii_lowercase());
                let name = self.get(&format!("s/{code}"));
                (code, name.map(str::to_owned))
            }
            "currency" => {
                if code.len() != 3 || !letters(code) {
                    return Err(invalid());
                }
                let code = code.to_ascii_uppercase();
                // As ICU: the name, whatever the style.
                let name = self.chosen.data.get(&format!("c/{code}/displayName"));
                (code, name.map(str::to_owned))
            }
            "calendar" => {
                let is_valid = code.split('-').all(|part| {
                    (3..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
                });
                if !is_valid {
                    return Err(invalid());
                }
                let code = code.to_ascii_lowercase();
                let key = match code.as_str() {
                    "gregory" => "gregorian",
                    "ethioaa" => "ethiopic-amete-alem",
                    other => other,
                };
                let name = self.chosen.data.get(&format!("d/calendar/{key}"));
                (code, name.map(str::to_owned))
            }
            _ => {
                let field = match code {
                    "dayPeriod" => "dayperiod",
                    "timeZoneName" => "zone",
                    "weekOfYear" => "week",
                    "era" | "year" | "quarter" | "month" | "weekday" | "day" | "hour" | "minute"
                    | "second" => code,
                    _ => return Err(invalid()),
                };
                let suffix = match self.style.as_str() {
                    "short" => "-short",
                    "narrow" => "-narrow",
                    _ => "",
                };
                let name = self.chosen.data.get(&format!("f/{field}{suffix}/displayName"));
                (code.to_owned(), name.map(str::to_owned))
            }
        };
        Ok(name.or_else(|| (self.fallback == "code").then_some(code)))
    }

    fn language(&self, tag: &locale::Tag) -> Option<String> {
        let language = tag.id.language.to_string();
        let script = tag.id.script.map(|script| script.to_string());
        let region = tag.id.region.map(|region| region.to_string());
        // What a dialect has a name of its own for.
        let mut tries: Vec<(String, bool, bool)> = Vec::new();
        if self.language_display == "dialect" {
            if let (Some(script), Some(region)) = (&script, &region) {
                tries.push((format!("{language}-{script}-{region}"), true, true));
            }
            // As ICU: what has both and no name of its own is told by its language.
            match (&script, &region) {
                (Some(script), None) => tries.push((format!("{language}-{script}"), true, false)),
                (None, Some(region)) => tries.push((format!("{language}-{region}"), false, true)),
                _ => {}
            }
        }
        tries.push((language.clone(), false, false));
        let (name, has_script, has_region) = tries
            .into_iter()
            .find_map(|(key, script, region)| Some((self.get(&format!("l/{key}"))?, script, region)))?;
        let mut rest: Vec<String> = Vec::new();
        if let Some(script) = script.filter(|_| !has_script) {
            rest.push(self.get(&format!("s/{script}")).map_or(script, str::to_owned));
        }
        if let Some(region) = region.filter(|_| !has_region) {
            rest.push(self.get(&format!("t/{region}")).map_or(region, str::to_owned));
        }
        rest.extend(tag.id.variants.iter().map(|variant| variant.to_string().to_ascii_uppercase()));
        if rest.is_empty() {
            return Some(name.to_owned());
        }
        let separator = self.chosen.data.get("d/localeSeparator").unwrap_or("{0}, {1}");
        let joined = rest
            .into_iter()
            .reduce(|one, other| separator.replace("{0}", &one).replace("{1}", &other))
            .unwrap_or_default();
        let pattern = self.chosen.data.get("d/localePattern").unwrap_or("{0} ({1})");
        Some(pattern.replace("{0}", name).replace("{1}", &joined))
    }

    pub fn resolved(&self) -> Value {
        let mut resolved = json!({
            "locale": self.chosen.name,
            "style": self.style,
            "type": self.kind,
            "fallback": self.fallback,
        });
        if self.kind == "language" {
            resolved["languageDisplay"] = json!(self.language_display);
        }
        resolved
    }
}
