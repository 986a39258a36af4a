//! What CLDR says of all locales together, as entries of a locale named "supplement".

use std::collections::BTreeMap;

use serde_json::Value;

use crate::locales::{UNITS, object};
use crate::packages::Packages;
use crate::table::Table;

pub fn add(packages: &Packages, table: &mut Table) -> Result<(), String> {
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |key: String, text: &str| {
        entries.insert(key, text.to_owned());
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();

    put("units".into(), &UNITS.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    for (name, system) in object(&packages.supplement("numberingSystems")?["numberingSystems"]) {
        if let Some(digits) = system["_digits"].as_str() {
            put(format!("digits/{name}"), digits);
        }
    }
    for (code, fraction) in object(&packages.supplement("currencyData")?["currencyData"]["fractions"]) {
        put(format!("fraction/{code}"), &text(&fraction["_digits"]));
    }
    for (region, data) in object(&packages.supplement("timeData")?["timeData"]) {
        put(format!("hours/{region}"), &format!("{} {}", text(&data["_preferred"]), text(&data["_allowed"])));
    }
    for (region, calendars) in
        object(&packages.supplement("calendarPreferenceData")?["calendarPreferenceData"])
    {
        let names: Vec<String> = calendars.as_array().into_iter().flatten().map(text).collect();
        put(format!("calendar/{region}"), &names.join(" "));
    }
    let week = packages.supplement("weekData")?["weekData"].take();
    for (name, letter) in
        [("minDays", "min"), ("firstDay", "first"), ("weekendStart", "start"), ("weekendEnd", "end")]
    {
        for (region, day) in object(&week[name]) {
            put(format!("week/{letter}/{region}"), &text(day));
        }
    }
    // Each rule as "name from before" in minutes of the day.
    for (language, rules) in object(&packages.supplement("dayPeriods")?["dayPeriodRuleSet"]) {
        let minutes = |time: &Value| {
            let (hours, minutes) = time.as_str()?.split_once(':')?;
            Some(hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?)
        };
        let rules: Vec<String> = object(rules)
            .filter_map(|(name, rule)| {
                if let Some(at) = minutes(&rule["_at"]) {
                    return Some(format!("{name} {at} {at}"));
                }
                Some(format!("{name} {} {}", minutes(&rule["_from"])?, minutes(&rule["_before"])?))
            })
            .collect();
        put(format!("periods/{language}"), &rules.join(";"));
    }

    // Which names a time zone has, since when: "name from to" in minutes of UTC.
    let zones = packages.supplement("metaZones")?["metaZones"].take();
    let mut found = Vec::new();
    collect_zones(&zones["metazoneInfo"]["timezone"], "", &mut found);
    for (zone, periods) in found {
        put(format!("metazones/{zone}"), &periods);
    }
    for zone in zones["metazones"].as_array().into_iter().flatten() {
        let zone = &zone["mapZone"];
        put(format!("golden/{}/{}", text(&zone["_other"]), text(&zone["_territory"])), &text(&zone["_type"]));
    }
    for (region, zone) in object(&packages.supplement("primaryZones")?["primaryZones"]) {
        put(format!("primary/{region}"), &text(zone));
    }
    // The first alias of a zone is the name that it goes by.
    let names = packages.file("cldr-bcp47/bcp47/timezone.json")?["keyword"]["u"]["tz"].take();
    for (id, zone) in object(&names) {
        let (Some(aliases), region) = (zone["_alias"].as_str(), zone["_region"].as_str()) else { continue };
        let mut aliases = aliases.split(' ');
        let Some(first) = aliases.next() else { continue };
        let region = region.map_or_else(|| id[..2.min(id.len())].to_uppercase(), str::to_owned);
        put(format!("zone/{}", first.to_lowercase()), &format!("{first} {region} {id}"));
        for alias in aliases {
            put(format!("zone/{}", alias.to_lowercase()), &format!("{first} {region} {id}"));
        }
    }
    let content = packages.file("cldr-core/defaultContent.json")?["defaultContent"].take();
    for locale in content.as_array().into_iter().flatten().map(text) {
        put(format!("content/{locale}"), "");
    }
    table.add("supplement", None, entries);
    Ok(())
}

fn collect_zones(value: &Value, name: &str, found: &mut Vec<(String, String)>) {
    if let Some(periods) = value.as_array() {
        let periods: Vec<String> = periods
            .iter()
            .map(|period| {
                let period = &period["usesMetazone"];
                let minute = |key: &str, otherwise: &str| {
                    period[key].as_str().map_or(otherwise.to_owned(), |time| time.replace(' ', "T"))
                };
                let name = period["_mzone"].as_str().unwrap_or_default();
                format!("{name} {} {}", minute("_from", "0"), minute("_to", "9"))
            })
            .collect();
        found.push((name.into(), periods.join(";")));
    }
    for (part, value) in object(value) {
        collect_zones(value, &if name.is_empty() { part.clone() } else { format!("{name}/{part}") }, found);
    }
}
