//! `Intl.Locale` and what is asked of tags alone.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::collator::{all_collations, collations};
use crate::data::{supplement, supplement_under};
use crate::date::CALENDARS;
use crate::error::{Error, Result};
use crate::locale::{self, Tag};
use crate::zone::Zone;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct TagOptions {
    language: Option<String>,
    script: Option<String>,
    region: Option<String>,
    calendar: Option<String>,
    collation: Option<String>,
    hour_cycle: Option<String>,
    case_first: Option<String>,
    numeric: Option<bool>,
    numbering_system: Option<String>,
}

/// A tag with what options put into it.
pub fn with_options(tag: &str, options: &TagOptions) -> Result<String> {
    let mut tag = locale::canonical(tag)?;
    let incorrect = || Error::range("Incorrect locale information provided");
    if let Some(language) = &options.language {
        tag.id.language = language.parse().map_err(|_| incorrect())?;
    }
    if let Some(script) = &options.script {
        tag.id.script = Some(script.parse().map_err(|_| incorrect())?);
    }
    if let Some(region) = &options.region {
        tag.id.region = Some(region.parse().map_err(|_| incorrect())?);
    }
    let numeric = options.numeric.map(|numeric| String::from(if numeric { "true" } else { "false" }));
    for (key, value) in [
        ("ca", &options.calendar),
        ("co", &options.collation),
        ("hc", &options.hour_cycle),
        ("kf", &options.case_first),
        ("kn", &numeric),
        ("nu", &options.numbering_system),
    ] {
        if let Some(value) = value {
            let key = key.parse().map_err(|_| incorrect())?;
            let value = value.to_ascii_lowercase().parse().map_err(|_| incorrect())?;
            tag.extensions.unicode.keywords.set(key, value);
        }
    }
    Ok(locale::canonical(&tag.to_string())?.to_string())
}

/// Everything that the members of an `Intl.Locale` tell.
pub fn describe(text: &str) -> Result<Value> {
    let tag = locale::canonical(text)?;
    let mut full = tag.clone();
    locale::maximize(&mut full);
    let mut short = tag.clone();
    locale::minimize(&mut short);
    let keyword = |key: &str| locale::keyword(&tag, key);
    let region = full.id.region.map_or_else(|| "001".into(), |region| region.to_string());
    let language = tag.id.language.to_string();

    let usual =
        |key: &str| supplement(&format!("{key}/{region}")).or_else(|| supplement(&format!("{key}/001")));
    let calendars: Vec<String> = match keyword("ca") {
        Some(calendar) => vec![calendar],
        None => usual("calendar")
            .unwrap_or("gregorian")
            .split(' ')
            .map(|name| if name == "gregorian" { "gregory".into() } else { name.into() })
            .collect(),
    };
    let collations = match keyword("co") {
        Some(collation) => vec![collation],
        None => collations(&language).into_iter().map(str::to_owned).collect(),
    };
    let hours = supplement(&format!("hours/{language}_{region}")).or_else(|| usual("hours")).unwrap_or("H");
    let cycles = match keyword("hc") {
        Some(cycle) => vec![cycle],
        None => vec![
            match hours.chars().next() {
                Some('h') => "h12",
                Some('K') => "h11",
                Some('k') => "h24",
                _ => "h23",
            }
            .to_owned(),
        ],
    };
    let chosen = locale::choose(&[text.to_owned()])?;
    let numbering = locale::numbering_system(&chosen, None, &mut Vec::new())?;
    let zones: Option<Vec<String>> = tag.id.region.map(|region| {
        let region = region.to_string();
        let mut zones: Vec<String> = supplement_under("zone/")
            .into_iter()
            .filter(|(_, zone)| zone.split(' ').nth(1) == Some(region.as_str()))
            .filter_map(|(_, zone)| zone.split(' ').next())
            .map(str::to_owned)
            .collect();
        zones.sort();
        zones.dedup();
        zones
    });
    let day = |letter: &str| {
        let key = format!("week/{letter}");
        let name = usual(&key).unwrap_or("mon");
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
            .iter()
            .position(|day| *day == name)
            .map_or(1, |day| day + 1)
    };
    let (start, end) = (day("start"), day("end"));
    let mut weekend = vec![start];
    let mut at = start;
    while at != end && weekend.len() < 7 {
        at = at % 7 + 1;
        weekend.push(at);
    }
    let right_to_left = full.id.script.is_some_and(|script| {
        matches!(
            script.as_str(),
            "Adlm"
                | "Arab"
                | "Aran"
                | "Hebr"
                | "Mand"
                | "Mend"
                | "Nkoo"
                | "Rohg"
                | "Samr"
                | "Syrc"
                | "Thaa"
                | "Yezi"
        )
    });
    Ok(json!({
        "tag": tag.to_string(),
        "baseName": tag.id.to_string(),
        "language": language,
        "script": tag.id.script.map(|script| script.to_string()),
        "region": tag.id.region.map(|region| region.to_string()),
        "calendar": keyword("ca"),
        "collation": keyword("co"),
        "hourCycle": keyword("hc"),
        "caseFirst": keyword("kf"),
        "numeric": keyword("kn").is_some_and(|value| value == "true"),
        "numberingSystem": keyword("nu"),
        "maximized": full.to_string(),
        "minimized": short.to_string(),
        "calendars": calendars,
        "collations": collations,
        "hourCycles": cycles,
        "numberingSystems": [numbering],
        "timeZones": zones,
        "textInfo": { "direction": if right_to_left { "rtl" } else { "ltr" } },
        "weekInfo": {
            "firstDay": day("first"),
            "weekend": weekend,
            "minimalDays": usual("week/min").and_then(|days| days.parse::<u32>().ok()).unwrap_or(1),
        },
    }))
}

pub fn supported(tags: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for tag in tags {
        let tag: Tag = locale::canonical(tag)?;
        if locale::best_available(&tag).is_some() {
            found.push(tag.to_string());
        }
    }
    Ok(found)
}

/// `Intl.supportedValuesOf`.
pub fn values(key: &str) -> Result<Vec<String>> {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Ok(match key {
        // Those that Intl.DateTimeFormat takes.
        "calendar" => CALENDARS
            .iter()
            .filter(|name| matches!(**name, "buddhist" | "gregory"))
            .map(|name| (*name).to_owned())
            .collect(),
        "collation" => own(&all_collations()),
        "currency" => {
            let english = locale::choose(&[])?.data;
            let mut codes: Vec<String> = english
                .under("c/")
                .into_iter()
                .filter_map(|(key, _)| Some(key.split_once('/')?.0.to_owned()))
                .collect();
            codes.dedup();
            codes
        }
        "numberingSystem" => {
            supplement_under("digits/").into_iter().map(|(name, _)| name.to_owned()).collect()
        }
        "timeZone" => own(&Zone::all()),
        "unit" => supplement("units").unwrap_or_default().split(' ').map(str::to_owned).collect(),
        _ => return Err(Error::range(format!("Invalid key : {key}"))),
    })
}
