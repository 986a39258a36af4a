//! What each locale says: patterns, names, symbols. Keys begin with a letter for the file: g(regorian), z(ones), f(ields), n(umbers),
//! c(urrencies), u(nits), l(anguages), t(erritories), s(cripts), d(isplay of locales).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::packages::Packages;
use crate::table::Table;

/// The units that ECMA-402 allows in `Intl.NumberFormat`.
pub const UNITS: &str = "acre bit byte celsius centimeter day degree fahrenheit fluid-ounce foot gallon gigabit gigabyte gram \
    hectare hour inch kilobit kilobyte kilogram kilometer liter megabit megabyte meter microsecond mile mile-scandinavian \
    milliliter millimeter millisecond minute month nanosecond ounce percent petabyte pound second stone terabit terabyte \
    week yard year";
const FIELDS: &str = "year quarter month week day hour minute second era weekday dayperiod zone weekOfYear";

type Entries = BTreeMap<String, String>;

pub fn add(packages: &Packages, table: &mut Table) -> Result<(), String> {
    let coverage = packages.file("cldr-core/coverageLevels.json")?["effectiveCoverageLevels"].take();
    let parents = packages.supplement("parentLocales")?["parentLocales"]["parentLocale"].take();
    let available = packages.locales()?;
    let is_covered = |locale: &str| coverage[locale].is_string();
    let chosen: Vec<&String> = available
        .iter()
        .filter(|locale| {
            let language = locale.split('-').next().unwrap_or(locale);
            *locale == "und" || is_covered(locale) || is_covered(language)
        })
        .collect();
    let names: HashSet<&str> = chosen.iter().map(|name| name.as_str()).collect();
    let mut read: HashMap<String, Entries> = HashMap::new();
    for locale in &chosen {
        let parent = parent_of(locale, &parents, &names);
        for locale in [Some(locale.as_str()), parent].into_iter().flatten() {
            if !read.contains_key(locale) {
                read.insert(locale.into(), entries(packages, locale)?);
            }
        }
        let mut own = read[locale.as_str()].clone();
        if let Some(parent) = parent {
            let above = &read[parent];
            own.retain(|key, text| above.get(key) != Some(text));
            // An empty text takes back what the parent says.
            for key in above.keys().filter(|key| !read[locale.as_str()].contains_key(*key)) {
                own.insert(key.clone(), String::new());
            }
        }
        table.add(locale, parent, own);
    }
    Ok(())
}

fn parent_of<'a>(locale: &'a str, parents: &'a Value, names: &HashSet<&str>) -> Option<&'a str> {
    if locale == "und" {
        return None;
    }
    if let Some(parent) = parents[locale].as_str() {
        return Some(if parent == "root" { "und" } else { parent });
    }
    let mut parent = locale;
    while let Some((shorter, _)) = parent.rsplit_once('-') {
        parent = shorter;
        if names.contains(parent) {
            return Some(parent);
        }
    }
    Some("und")
}

fn entries(packages: &Packages, locale: &str) -> Result<Entries, String> {
    let mut entries = Entries::new();
    let file = |package: &str, name: &str| -> Result<Value, String> {
        let file = packages.optional(&format!("cldr-{package}-full/main/{locale}/{name}.json"))?;
        Ok(file.map_or(Value::Null, |mut file| file["main"][locale].take()))
    };

    let mut calendars = file("dates", "ca-gregorian")?;
    let gregorian = &mut calendars["dates"]["calendars"]["gregorian"];
    let unused =
        ["dateSkeletons", "timeSkeletons", "dateTimeFormats-relative", "quarters", "dateTimeFormats-type"];
    remove(gregorian, &unused);
    flatten(gregorian, "g", &mut entries);
    let fields = file("dates", "dateFields")?;
    for (name, field) in object(&fields["dates"]["fields"]) {
        if FIELDS.split(' ').any(|known| Some(known) == name.split('-').next()) {
            flatten(field, &format!("f/{name}"), &mut entries);
        }
    }
    flatten(&file("dates", "timeZoneNames")?["dates"]["timeZoneNames"], "z", &mut entries);

    let mut numbers = file("numbers", "numbers")?;
    remove(&mut numbers["numbers"], &["minimalPairs"]);
    flatten(&numbers["numbers"], "n", &mut entries);
    flatten(&file("numbers", "currencies")?["numbers"]["currencies"], "c", &mut entries);

    let units = file("units", "units")?;
    for width in ["long", "short", "narrow"] {
        for (name, unit) in object(&units["units"][width]) {
            let simple = name.split_once('-').map_or(name.as_str(), |(_, unit)| unit);
            let is_known = |unit: &str| UNITS.split_ascii_whitespace().any(|known| known == unit);
            let compound =
                simple.split_once("-per-").is_some_and(|(one, other)| is_known(one) && is_known(other));
            if name == "per" || is_known(simple) || compound {
                let mut unit = unit.clone();
                remove(&mut unit, &["displayName", "gender"]);
                flatten(&unit, &format!("u/{width}/{simple}"), &mut entries);
            }
        }
    }

    let mut display = file("localenames", "localeDisplayNames")?;
    let display = &mut display["localeDisplayNames"];
    flatten(&display["localeDisplayPattern"], "d", &mut entries);
    flatten(&display["types"]["calendar"], "d/calendar", &mut entries);
    for (letter, name) in [("l", "languages"), ("t", "territories"), ("s", "scripts")] {
        flatten(&file("localenames", name)?["localeDisplayNames"][name], letter, &mut entries);
    }
    Ok(entries)
}

fn remove(value: &mut Value, names: &[&str]) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !names.contains(&name.as_str()));
    }
}

pub fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn flatten(value: &Value, key: &str, entries: &mut Entries) {
    if let Some(text) = value.as_str() {
        entries.insert(key.into(), text.into());
    }
    for (name, value) in object(value) {
        // What readers of the program ask for never has these.
        if !name.starts_with('_') && !name.contains("alt-ascii") {
            flatten(value, &format!("{key}/{name}"), entries);
        }
    }
}
