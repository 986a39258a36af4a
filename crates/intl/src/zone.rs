//! Time zones: which there are, what clocks show in them, what they are called.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::civil::{self, Civil};
use crate::data::{self, supplement, supplement_under};
use crate::error::{Error, Result};
use crate::locale::Chosen;
use crate::number::Symbols;
use crate::part::unquote;

/// The IANA data that is part of the program; never that of the machine, which is another one elsewhere.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

#[derive(Clone)]
pub struct Zone {
    /// As CLDR calls it ("Asia/Calcutta"), "UTC", or an offset.
    pub name: String,
    rules: Rules,
}

#[derive(Clone)]
enum Rules {
    Fixed(i32),
    Named(TimeZone),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    pub seconds: i32,
    pub is_daylight: bool,
}

fn fixed_offset(name: &str) -> Option<i32> {
    let (sign, rest) = match name.as_bytes().first()? {
        b'+' => (1, &name[1..]),
        b'-' => (-1, &name[1..]),
        _ => return None,
    };
    let digits = match rest.len() {
        2 | 4 => rest.to_owned(),
        5 if rest.as_bytes()[2] == b':' => rest.replace(':', ""),
        _ => return None,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) || digits.len() % 2 == 1 {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

impl Zone {
    pub fn find(name: &str) -> Result<Zone> {
        if let Some(seconds) = fixed_offset(name) {
            let minutes = seconds.abs() / 60;
            let sign = if seconds < 0 { '-' } else { '+' };
            let name = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            return Ok(Zone { name, rules: Rules::Fixed(seconds) });
        }
        let invalid = || Error::range(format!("Invalid time zone specified: {name}"));
        if name.len() > 100 {
            return Err(invalid());
        }
        let known = supplement(&format!("zone/{}", name.to_ascii_lowercase()));
        let canonical = known.and_then(|zone| zone.split(' ').next());
        let is_utc = |name: &str| matches!(name, "Etc/UTC" | "Etc/GMT" | "UTC" | "GMT");
        if canonical.is_some_and(is_utc) || is_utc(&name.to_ascii_uppercase()) {
            return Ok(Zone { name: "UTC".into(), rules: Rules::Fixed(0) });
        }
        let rules = canonical
            .and_then(|canonical| DATABASE.get(canonical).ok())
            .or_else(|| DATABASE.get(name).ok())
            .ok_or_else(invalid)?;
        let canonical = canonical.map(str::to_owned).or_else(|| rules.iana_name().map(str::to_owned));
        Ok(Zone { name: canonical.ok_or_else(invalid)?, rules: Rules::Named(rules) })
    }

    /// All names that `Intl.supportedValuesOf("timeZone")` gives.
    pub fn all() -> Vec<&'static str> {
        let mut names: Vec<&str> = supplement_under("zone/")
            .into_iter()
            .filter_map(|(_, zone)| zone.split(' ').next())
            .filter(|name| !name.starts_with("Etc/") && name.contains('/') && DATABASE.get(name).is_ok())
            .collect();
        names.push("UTC");
        names.sort_unstable();
        names.dedup();
        names
    }

    pub fn offset(&self, time_ms: i64) -> Offset {
        match &self.rules {
            Rules::Fixed(seconds) => Offset { seconds: *seconds, is_daylight: false },
            Rules::Named(rules) => {
                // The rules of the calendar repeat every 400 years; nothing is known of years before the first.
                const CYCLE_MS: i64 = 146_097 * 86_400_000;
                let last = 253_000_000_000_000;
                let mut time_ms = time_ms.max(-60_000_000_000_000);
                if time_ms > last {
                    time_ms -= (time_ms - last).div_euclid(CYCLE_MS) * CYCLE_MS + CYCLE_MS;
                }
                let Ok(time) = Timestamp::from_millisecond(time_ms) else {
                    return Offset { seconds: 0, is_daylight: false };
                };
                let info = rules.to_offset_info(time);
                Offset { seconds: info.offset().seconds(), is_daylight: info.dst().is_dst() }
            }
        }
    }

    pub fn civil(&self, time_ms: i64) -> Civil {
        civil::of(time_ms + i64::from(self.offset(time_ms).seconds) * 1000)
    }

    fn metazone(&self, time_ms: i64) -> Option<&'static str> {
        // CLDR's names begin in 1970, with no day before.
        let periods = supplement(&format!("metazones/{}", self.name)).filter(|_| time_ms >= 0)?;
        let civil = civil::of(time_ms);
        let time = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}",
            civil.year.clamp(1000, 8999),
            civil.month,
            civil.day,
            civil.hour,
            civil.minute
        );
        periods.split(';').find_map(|period| {
            let mut words = period.split(' ');
            let (name, from, to) = (words.next()?, words.next()?, words.next()?);
            (from <= time.as_str() && time.as_str() < to).then_some(name)
        })
    }

    fn own_name(&self, locale: data::Locale, length: &str, kind: &str) -> Option<&'static str> {
        let name = if self.name == "UTC" { "Etc/UTC" } else { self.name.as_str() };
        locale.get(&format!("z/zone/{name}/{length}/{kind}")).filter(|name| *name != "∅∅∅")
    }

    /// "PST", "Pacific Standard Time".
    pub fn specific_name(&self, chosen: &Chosen, symbols: &Symbols, time_ms: i64, long: bool) -> String {
        let offset = self.offset(time_ms);
        let (length, kind) =
            (if long { "long" } else { "short" }, if offset.is_daylight { "daylight" } else { "standard" });
        let name = self.own_name(chosen.data, length, kind).or_else(|| {
            let metazone = self.metazone(time_ms)?;
            chosen.data.get(&format!("z/metazone/{metazone}/{length}/{kind}")).filter(|name| *name != "∅∅∅")
        });
        name.map_or_else(|| offset_name(chosen, symbols, offset.seconds, long), str::to_owned)
    }

    /// "PT", "Pacific Time", else the place.
    pub fn generic_name(&self, chosen: &Chosen, symbols: &Symbols, time_ms: i64, long: bool) -> String {
        let Rules::Named(_) = self.rules else {
            return if self.name == "UTC" {
                offset_name(chosen, symbols, 0, long)
            } else {
                offset_name(chosen, symbols, self.offset(time_ms).seconds, long)
            };
        };
        let length = if long { "long" } else { "short" };
        if let Some(name) = self.own_name(chosen.data, length, "generic") {
            return name.to_owned();
        }
        let named = self.metazone(time_ms).and_then(|metazone| {
            let name = |kind: &str| {
                chosen
                    .data
                    .get(&format!("z/metazone/{metazone}/{length}/{kind}"))
                    .filter(|name| *name != "∅∅∅")
            };
            let generic = name("generic");
            const HALF_YEAR_MS: i64 = 184 * 86_400_000;
            let changes = [-HALF_YEAR_MS, -HALF_YEAR_MS / 2, 0, HALF_YEAR_MS / 2, HALF_YEAR_MS]
                .iter()
                .any(|by| self.offset(time_ms + by).is_daylight);
            if !changes && let Some(standard) = name("standard") {
                return Some(standard.to_owned());
            }
            let text = generic?;
            let region = self.region().unwrap_or("001");
            let golden = supplement(&format!("golden/{metazone}/{region}"))
                .or_else(|| supplement(&format!("golden/{metazone}/001")))?;
            if golden != self.name
                && Zone::find(golden).is_ok_and(|golden| golden.offset(time_ms) != self.offset(time_ms))
            {
                let pattern = chosen.data.get("z/fallbackFormat").unwrap_or("{1} ({0})");
                return Some(pattern.replace("{0}", &self.place(chosen)).replace("{1}", text));
            }
            Some(text.to_owned())
        });
        if named.is_none() && self.name.starts_with("Etc/") {
            return offset_name(chosen, symbols, self.offset(time_ms).seconds, long);
        }
        named.unwrap_or_else(|| {
            let pattern = chosen.data.get("z/regionFormat").unwrap_or("{0}");
            pattern.replace("{0}", &self.place(chosen))
        })
    }

    fn region(&self) -> Option<&'static str> {
        supplement(&format!("zone/{}", self.name.to_ascii_lowercase()))?.split(' ').nth(1)
    }

    /// The country, where it has no other zone, or this is its main one; else the city.
    fn place(&self, chosen: &Chosen) -> String {
        if let Some(region) = self.region().filter(|region| *region != "001") {
            let is_main = supplement(&format!("primary/{region}")) == Some(self.name.as_str()) || {
                let mut zones: Vec<&str> = supplement_under("zone/")
                    .into_iter()
                    .filter(|(_, zone)| zone.split(' ').nth(1) == Some(region))
                    .filter_map(|(_, zone)| zone.split(' ').next())
                    .collect();
                zones.dedup();
                zones.iter().all(|zone| *zone == self.name)
            };
            if is_main && let Some(name) = chosen.data.get(&format!("t/{region}")) {
                return name.to_owned();
            }
        }
        chosen.data.get(&format!("z/zone/{}/exemplarCity", self.name)).map_or_else(
            || self.name.rsplit('/').next().unwrap_or(&self.name).replace('_', " "),
            str::to_owned,
        )
    }
}

/// "GMT+5:30", or long "GMT+05:30"; never "GMT" alone.
pub fn offset_name(chosen: &Chosen, symbols: &Symbols, seconds: i32, long: bool) -> String {
    let formats = chosen.data.get("z/hourFormat").unwrap_or("+HH:mm;-HH:mm");
    let mut formats = formats.split(';');
    let positive = formats.next().unwrap_or("+HH:mm");
    let format = if seconds < 0 { formats.next().unwrap_or("-HH:mm") } else { positive };
    let absolute = seconds.abs();
    let (hours, minutes, rest) = (absolute / 3600, absolute / 60 % 60, absolute % 60);
    let separator: String =
        format.split('H').next_back().unwrap_or(":").split('m').next().unwrap_or(":").to_owned();
    let before = format.split('H').next().unwrap_or("+");
    let mut text = if long { format!("{hours:02}") } else { hours.to_string() };
    if long || minutes != 0 || rest != 0 {
        text += &format!("{separator}{minutes:02}");
    }
    if rest != 0 {
        text += &format!("{separator}{rest:02}");
    }
    // Marks of direction follow the long form alone.
    let after = if long { format.rsplit('m').next().unwrap_or_default() } else { "" };
    let shown = format!("{before}{}{after}", symbols.write(&text));
    unquote(&chosen.data.get("z/gmtFormat").unwrap_or("GMT{0}").replace("{0}", &shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_old_names_and_offsets_are_known() {
        for (name, canonical) in [
            ("Asia/Kolkata", "Asia/Calcutta"),
            ("asia/calcutta", "Asia/Calcutta"),
            ("utc", "UTC"),
            ("Etc/UTC", "UTC"),
            ("US/Pacific", "America/Los_Angeles"),
            ("Europe/Kyiv", "Europe/Kiev"),
            ("+0530", "+05:30"),
            ("-08", "-08:00"),
        ] {
            assert_eq!(Zone::find(name).expect(name).name, canonical);
        }
        for wrong in ["", "Mars/Olympus", "+24:00", "+5", "+05:3", "Europe"] {
            assert!(Zone::find(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn offsets_are_those_of_their_time() {
        let seconds = |name: &str, time_ms: i64| Zone::find(name).expect(name).offset(time_ms).seconds;
        assert_eq!(seconds("Europe/Berlin", 1_720_000_000_000), 7200);
        assert_eq!(seconds("Europe/Berlin", 1_700_000_000_000), 3600);
        // Double summer time in London, 1941.
        assert_eq!(seconds("Europe/London", -900_000_000_000), 7200);
        assert_eq!(seconds("Asia/Calcutta", 0), 19_800);
        // Before zones there was the sun.
        assert_eq!(seconds("America/New_York", -3_000_000_000_000), -17_762);
        // The last day of time.
        assert_eq!(seconds("Europe/Berlin", 8_640_000_000_000_000), 7200);
    }
}
