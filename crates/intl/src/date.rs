//! `Intl.DateTimeFormat`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::civil::Civil;
use crate::data::supplement;
use crate::error::{Error, Result};
use crate::interval::{Intervals, Range};
use crate::locale::{self, Chosen};
use crate::number::Symbols;
use crate::part::Parts;
use crate::skeleton::{Generator, Item, join, parse};
use crate::zone::{self, Zone};

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
pub struct DateOptions {
    calendar: Option<String>,
    numbering_system: Option<String>,
    hour12: Option<bool>,
    hour_cycle: Option<String>,
    time_zone: Option<String>,
    weekday: Option<String>,
    era: Option<String>,
    year: Option<String>,
    month: Option<String>,
    day: Option<String>,
    day_period: Option<String>,
    hour: Option<String>,
    minute: Option<String>,
    second: Option<String>,
    fractional_second_digits: Option<usize>,
    time_zone_name: Option<String>,
    date_style: Option<String>,
    time_style: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HourCycle {
    H11,
    H12,
    H23,
    H24,
}

impl HourCycle {
    fn of(name: &str) -> Option<HourCycle> {
        Some(match name {
            "h11" => HourCycle::H11,
            "h12" => HourCycle::H12,
            "h23" => HourCycle::H23,
            "h24" => HourCycle::H24,
            _ => return None,
        })
    }

    fn letter(self) -> char {
        match self {
            HourCycle::H11 => 'K',
            HourCycle::H12 => 'h',
            HourCycle::H23 => 'H',
            HourCycle::H24 => 'k',
        }
    }

    fn of_letter(letter: char) -> Option<HourCycle> {
        [HourCycle::H11, HourCycle::H12, HourCycle::H23, HourCycle::H24]
            .into_iter()
            .find(|cycle| cycle.letter() == letter)
    }

    fn name(self) -> &'static str {
        match self {
            HourCycle::H11 => "h11",
            HourCycle::H12 => "h12",
            HourCycle::H23 => "h23",
            HourCycle::H24 => "h24",
        }
    }

    /// The one that people of a region use.
    fn usual(chosen: &Chosen) -> HourCycle {
        let region = chosen.region();
        let hours = supplement(&format!("hours/{}_{region}", chosen.language()))
            .or_else(|| supplement(&format!("hours/{region}")))
            .or_else(|| supplement("hours/001"));
        match hours.and_then(|hours| hours.chars().next()) {
            Some('h') => HourCycle::H12,
            Some('K') => HourCycle::H11,
            Some('k') => HourCycle::H24,
            _ => HourCycle::H23,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calendar {
    Gregorian,
    Buddhist,
}

/// The calendar that a locale uses where none is asked for.
fn usual_calendar(region: &str) -> &'static str {
    let names = supplement(&format!("calendar/{region}")).or_else(|| supplement("calendar/001"));
    match names.and_then(|names| names.split(' ').next()) {
        Some("gregorian") | None => "gregory",
        Some(name) => name,
    }
}

/// The calendars of which ECMA-402 knows.
pub const CALENDARS: [&str; 18] = [
    "buddhist",
    "chinese",
    "coptic",
    "dangi",
    "ethioaa",
    "ethiopic",
    "gregory",
    "hebrew",
    "indian",
    "islamic",
    "islamic-civil",
    "islamic-rgsa",
    "islamic-tbla",
    "islamic-umalqura",
    "iso8601",
    "japanese",
    "persian",
    "roc",
];

pub struct DateFormat {
    shown: String,
    chosen: Chosen,
    symbols: Symbols,
    calendar: Calendar,
    calendar_name: String,
    zone: Zone,
    cycle: Option<HourCycle>,
    pattern: Vec<Item>,
    styles: (Option<String>, Option<String>),
    intervals: Intervals,
}

impl DateFormat {
    pub fn new(locales: &[String], options: DateOptions) -> Result<DateFormat> {
        let chosen = locale::choose(locales)?;
        let mut keys = Vec::new();
        let canonical_calendar = |name: &str| match name {
            "gregorian" => "gregory".to_owned(),
            "ethiopic-amete-alem" => "ethioaa".to_owned(),
            "islamicc" => "islamic-civil".to_owned(),
            name => name.to_owned(),
        };
        let asked = options.calendar.as_deref().map(canonical_calendar);
        let calendar_name =
            locale::key_value(&chosen, "ca", asked.as_deref(), &mut keys, |name| CALENDARS.contains(&name))
                .unwrap_or_else(|| usual_calendar(&chosen.region()).to_owned());
        let calendar = match calendar_name.as_str() {
            "gregory" => Calendar::Gregorian,
            "buddhist" if chosen.language() == "th" => Calendar::Buddhist,
            name => {
                return Err(Error::range(format!(
                    "the calendar {name} is not available in Intl.DateTimeFormat for {}: gregory is (and buddhist for th)",
                    chosen.name
                )));
            }
        };
        let system = locale::numbering_system(&chosen, options.numbering_system.as_deref(), &mut keys)?;
        let symbols = Symbols::new(chosen.data, &system)?;
        let zone = Zone::find(options.time_zone.as_deref().unwrap_or("UTC"))?;

        let usual = HourCycle::usual(&chosen);
        let is_japan = chosen.tag().id.region.is_some_and(|region| region.as_str() == "JP");
        let twelve = match usual {
            HourCycle::H11 | HourCycle::H12 => usual,
            _ if is_japan => HourCycle::H11,
            _ => HourCycle::H12,
        };
        let twenty_four = match usual {
            HourCycle::H23 | HourCycle::H24 => usual,
            _ => HourCycle::H23,
        };
        let cycle = match options.hour12 {
            Some(true) => twelve,
            Some(false) => twenty_four,
            None => {
                let is_cycle = |name: &str| HourCycle::of(name).is_some();
                locale::key_value(&chosen, "hc", options.hour_cycle.as_deref(), &mut keys, is_cycle)
                    .and_then(|name| HourCycle::of(&name))
                    .unwrap_or(usual)
            }
        };

        let generator = Generator::new(chosen.data, symbols.decimal(), calendar == Calendar::Buddhist);
        let mut pattern = if options.date_style.is_some() || options.time_style.is_some() {
            styled(&chosen, &generator, &options, cycle, calendar)
        } else {
            generator.pattern(&skeleton(&options, cycle)?)
        };
        let mut has_hour = false;
        for item in &mut pattern {
            if let Item::Field(field @ ('h' | 'H' | 'k' | 'K'), _) = item {
                *field = cycle.letter();
                has_hour = true;
            }
        }
        let intervals = Intervals::new(chosen.data, &pattern, &generator, cycle.letter());
        Ok(DateFormat {
            shown: locale::shown_name(&chosen.name, &keys),
            chosen,
            symbols,
            calendar,
            calendar_name,
            zone,
            cycle: has_hour.then_some(cycle),
            pattern,
            styles: (options.date_style, options.time_style),
            intervals,
        })
    }

    pub fn format(&self, time_ms: f64) -> Result<Parts> {
        let time_ms = valid_time(time_ms)?;
        Ok(self.write(&self.pattern, time_ms))
    }

    pub fn format_range(&self, start: f64, end: f64) -> Result<Range> {
        let (start, end) = (valid_time(start)?, valid_time(end)?);
        let (first, last) = (self.zone.civil(start), self.zone.civil(end));
        let write = |items: &[Item], time_ms: i64| self.write(items, time_ms);
        Ok(self.intervals.format(&self.pattern, (start, &first), (end, &last), &write))
    }

    fn write(&self, items: &[Item], time_ms: i64) -> Parts {
        let civil = self.zone.civil(time_ms);
        let mut parts = Parts::default();
        for item in items {
            match item {
                Item::Text(text) => parts.push("literal", text.as_str()),
                Item::Field(field, length) => {
                    let (kind, text) = self.field(*field, *length, &civil, time_ms);
                    parts.push(kind, text);
                }
            }
        }
        parts
    }

    fn number(&self, number: i64, length: usize) -> String {
        self.symbols.write(&format!("{number:0length$}"))
    }

    fn name(&self, key: &str) -> String {
        self.chosen.data.get(key).unwrap_or_default().to_owned()
    }

    fn field(&self, field: char, length: usize, civil: &Civil, time_ms: i64) -> (&'static str, String) {
        let width = match length {
            4 => "wide",
            5 => "narrow",
            _ => "abbreviated",
        };
        let (year, era) = match self.calendar {
            Calendar::Buddhist => (civil.year + 543, 1),
            Calendar::Gregorian if civil.year > 0 => (civil.year, 1),
            Calendar::Gregorian => (1 - civil.year, 0),
        };
        let hour = i64::from(civil.hour);
        match field {
            'G' => {
                let name = if self.calendar == Calendar::Buddhist {
                    (if length == 4 { "พุทธศักราช" } else { "พ.ศ." }).to_owned()
                } else {
                    let kind = match length {
                        4 => "eraNames",
                        5 => "eraNarrow",
                        _ => "eraAbbr",
                    };
                    self.name(&format!("g/eras/{kind}/{era}"))
                };
                ("era", name)
            }
            'y' | 'u' | 'Y' => {
                let year = if field == 'u' { civil.year } else { year };
                ("year", self.number(if length == 2 { year % 100 } else { year }, length))
            }
            'M' | 'L' => {
                let month = i64::from(civil.month);
                let text = if length <= 2 {
                    self.number(month, length)
                } else {
                    let form = if field == 'M' { "format" } else { "stand-alone" };
                    self.name(&format!("g/months/{form}/{width}/{month}"))
                };
                ("month", text)
            }
            'd' => ("day", self.number(i64::from(civil.day), length)),
            'E' | 'c' | 'e' => {
                let day = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][civil.weekday as usize];
                let form = if field == 'c' { "stand-alone" } else { "format" };
                let width = if length == 6 { "short" } else { width };
                ("weekday", self.name(&format!("g/days/{form}/{width}/{day}")))
            }
            'a' | 'b' | 'B' => ("dayPeriod", self.day_period(field, width, civil)),
            'h' => ("hour", self.number(if hour % 12 == 0 { 12 } else { hour % 12 }, length)),
            'K' => ("hour", self.number(hour % 12, length)),
            'H' => ("hour", self.number(hour, length)),
            'k' => ("hour", self.number(if hour == 0 { 24 } else { hour }, length)),
            'm' => ("minute", self.number(i64::from(civil.minute), length)),
            's' => ("second", self.number(i64::from(civil.second), length)),
            'S' => {
                let digits = format!("{:03}", civil.millisecond);
                ("fractionalSecond", self.symbols.write(&digits[..length.min(3)]))
            }
            'z' => {
                ("timeZoneName", self.zone.specific_name(&self.chosen, &self.symbols, time_ms, length >= 4))
            }
            'O' => {
                let seconds = self.zone.offset(time_ms).seconds;
                ("timeZoneName", zone::offset_name(&self.chosen, &self.symbols, seconds, length >= 4))
            }
            'v' => {
                ("timeZoneName", self.zone.generic_name(&self.chosen, &self.symbols, time_ms, length >= 4))
            }
            _ => ("literal", String::new()),
        }
    }

    fn day_period(&self, field: char, width: &str, civil: &Civil) -> String {
        let key = |name: &str| format!("g/dayPeriods/format/{width}/{name}");
        let half = if civil.hour < 12 { "am" } else { "pm" };
        if field == 'a' {
            return self.name(&key(half));
        }
        let minute = civil.hour * 60 + civil.minute;
        let shows_minutes = self.pattern.iter().any(|item| matches!(item, Item::Field('m', _)));
        let exact = !shows_minutes || (civil.minute == 0 && civil.second == 0);
        let rules = supplement(&format!("periods/{}", self.chosen.name))
            .or_else(|| supplement(&format!("periods/{}", self.chosen.language())));
        let found = rules.into_iter().flat_map(|rules| rules.split(';')).filter_map(|rule| {
            let mut words = rule.split(' ');
            Some((words.next()?, words.next()?.parse::<u32>().ok()?, words.next()?.parse::<u32>().ok()?))
        });
        let rules: Vec<_> = found.collect();
        let hour_start = civil.hour * 60;
        // As ICU: noon has its name, midnight is a time of the night.
        let at = rules.iter().find(|(name, at, _)| *name == "noon" && exact && hour_start == *at);
        let name = at
            .or_else(|| {
                rules.iter().find(|(_, from, to)| {
                    if from < to {
                        (*from..*to).contains(&minute)
                    } else {
                        from != to && (minute >= *from || minute < *to)
                    }
                })
            })
            .and_then(|(name, _, _)| self.chosen.data.get(&key(name)));
        name.map_or_else(|| self.name(&key(half)), str::to_owned)
    }

    pub fn resolved(&self) -> Value {
        let mut resolved = json!({
            "locale": self.shown,
            "calendar": self.calendar_name,
            "numberingSystem": self.symbols.system,
            "timeZone": self.zone.name,
        });
        if let Some(cycle) = self.cycle {
            resolved["hourCycle"] = json!(cycle.name());
            resolved["hour12"] = json!(matches!(cycle, HourCycle::H11 | HourCycle::H12));
        }
        if let Some(style) = &self.styles.0 {
            resolved["dateStyle"] = json!(style);
        }
        if let Some(style) = &self.styles.1 {
            resolved["timeStyle"] = json!(style);
        }
        if self.styles != (None, None) {
            return resolved;
        }
        for item in &self.pattern {
            let Item::Field(field, length) = item else { continue };
            let name = match length {
                4 => "long",
                5 => "narrow",
                _ => "short",
            };
            let number = if *length == 2 { "2-digit" } else { "numeric" };
            let (key, value) = match field {
                'E' | 'c' => ("weekday", name),
                'G' => ("era", name),
                'y' => ("year", number),
                'M' | 'L' => ("month", if *length <= 2 { number } else { name }),
                'd' => ("day", number),
                'B' | 'b' => ("dayPeriod", name),
                'h' | 'H' | 'k' | 'K' => ("hour", number),
                'm' => ("minute", number),
                's' => ("second", number),
                'S' => {
                    resolved["fractionalSecondDigits"] = json!(length);
                    continue;
                }
                'z' => ("timeZoneName", name),
                'O' => ("timeZoneName", if *length >= 4 { "longOffset" } else { "shortOffset" }),
                'v' => ("timeZoneName", if *length >= 4 { "longGeneric" } else { "shortGeneric" }),
                _ => continue,
            };
            resolved[key] = json!(value);
        }
        resolved
    }
}

fn valid_time(time_ms: f64) -> Result<i64> {
    if !time_ms.is_finite() || time_ms.abs() > 8.64e15 {
        return Err(Error::range("Invalid time value"));
    }
    Ok(time_ms as i64)
}

fn styled(
    chosen: &Chosen,
    generator: &Generator,
    options: &DateOptions,
    cycle: HourCycle,
    calendar: Calendar,
) -> Vec<Item> {
    let get = |key: String| chosen.data.get(&key).map(parse);
    let date = options.date_style.as_ref().and_then(|style| {
        match (calendar, style.as_str()) {
            (Calendar::Buddhist, "full") => return Some(parse("EEEEที่ d MMMM G y")),
            (Calendar::Buddhist, "long") => return Some(parse("d MMMM y")),
            _ => {}
        }
        get(format!("g/dateFormats/{style}"))
    });
    let time = options.time_style.as_ref().and_then(|style| get(format!("g/timeFormats/{style}")));
    let pattern = match (date, time) {
        (Some(date), Some(time)) => {
            let style = options.date_style.as_deref().unwrap_or("medium");
            let glue = chosen
                .data
                .get(&format!("g/dateTimeFormats-atTime/standard/{style}"))
                .or_else(|| chosen.data.get(&format!("g/dateTimeFormats/{style}")))
                .unwrap_or("{1} {0}");
            join(glue, &time, &date)
        }
        (one, other) => one.or(other).unwrap_or_default(),
    };
    let used = pattern.iter().find_map(|item| match item {
        Item::Field(field, _) => HourCycle::of_letter(*field),
        Item::Text(_) => None,
    });
    if used.is_none() || used == Some(cycle) {
        return pattern;
    }
    let skeleton: String = pattern
        .iter()
        .filter_map(|item| match item {
            Item::Field('a' | 'b' | 'B', _) | Item::Text(_) => None,
            Item::Field('h' | 'H' | 'k' | 'K', length) => Some(cycle.letter().to_string().repeat(*length)),
            Item::Field(field, length) => Some(field.to_string().repeat(*length)),
        })
        .collect();
    generator.pattern(&skeleton)
}

/// The fields that options ask for.
fn skeleton(options: &DateOptions, cycle: HourCycle) -> Result<String> {
    let mut skeleton = String::new();
    let mut add = |field: char, option: &Option<String>| -> Result<()> {
        let Some(option) = option else { return Ok(()) };
        let length = match option.as_str() {
            "numeric" => 1,
            "2-digit" => 2,
            "short" if matches!(field, 'E' | 'M' | 'G') => 3,
            "short" => 1,
            "long" => 4,
            "narrow" => 5,
            other => {
                return Err(Error::range(format!(
                    "Value {other} out of range for Intl.DateTimeFormat options"
                )));
            }
        };
        skeleton.extend(std::iter::repeat_n(field, length));
        Ok(())
    };
    add('G', &options.era)?;
    add('y', &options.year)?;
    add('M', &options.month)?;
    add('E', &options.weekday)?;
    add('d', &options.day)?;
    add('B', &options.day_period)?;
    add(cycle.letter(), &options.hour)?;
    add('m', &options.minute)?;
    add('s', &options.second)?;
    if let Some(digits) = options.fractional_second_digits {
        skeleton.extend(std::iter::repeat_n('S', digits.clamp(1, 3)));
    }
    skeleton += match options.time_zone_name.as_deref() {
        None => "",
        Some("short") => "z",
        Some("long") => "zzzz",
        Some("shortOffset") => "O",
        Some("longOffset") => "OOOO",
        Some("shortGeneric") => "v",
        Some("longGeneric") => "vvvv",
        Some(other) => {
            return Err(Error::range(format!(
                "Value {other} out of range for Intl.DateTimeFormat options property timeZoneName"
            )));
        }
    };
    Ok(skeleton)
}
