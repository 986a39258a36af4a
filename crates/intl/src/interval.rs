//! Ranges of dates, as ICU's DateIntervalFormat writes them: CLDR has patterns by the largest field in which both ends differ.

use crate::civil::Civil;
use crate::data::Locale;
use crate::part::{Part, Parts};
use crate::skeleton::{Generator, Item, parse};

/// The largest field in which two moments differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Era,
    Year,
    Month,
    Day,
    Half,
    Hour,
    Minute,
    Second,
    Fraction,
    Nothing,
}

pub struct Intervals {
    /// Patterns by the difference's letter.
    patterns: Vec<(char, Vec<Item>)>,
    /// The date's pattern and how it stands beside a time, where both are shown.
    date: Option<(Vec<Item>, &'static str)>,
    time: Vec<Item>,
    /// Both of them, where the days differ.
    both: Option<Vec<Item>>,
    /// A date with a time, where only a time is shown and the days differ.
    dated: Option<Vec<Item>>,
    /// With fields of the date that are not asked for, where a time is shown and the ends differ in them.
    extended: Vec<(Difference, Vec<Item>)>,
    fallback: &'static str,
}

/// What both ends of a range are shown as.
pub enum Range {
    /// They look alike.
    One(Parts),
    Two(Parts),
}

pub type Write<'w> = dyn Fn(&[Item], i64) -> Parts + 'w;

fn is_time(field: char) -> bool {
    matches!(field, 'a' | 'b' | 'B' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'S' | 'z' | 'O' | 'v')
}

/// Fields without what is said of their width, but for the names of months and weekdays: a number is one, and so is the name
/// of a zone.
fn plain(fields: &[(char, usize)]) -> Vec<(char, usize)> {
    let length_of = |field, length| match (field, length) {
        ('d' | 'z', _) | ('M', 1 | 2) | ('E', 1..=3) => 1,
        (_, length) => length,
    };
    fields.iter().map(|(field, length)| (*field, length_of(*field, *length))).collect()
}

fn text_of(fields: &[(char, usize)]) -> String {
    fields.iter().map(|(field, length)| field.to_string().repeat(*length)).collect()
}

impl Intervals {
    pub fn new(locale: Locale, pattern: &[Item], generator: &Generator, hour: char) -> Intervals {
        let mut date = Vec::new();
        let mut time = Vec::new();
        // Of months and weekdays as they stand alone CLDR has no ranges.
        let mut stands_alone = false;
        for item in pattern {
            if let Item::Field(field, length) = item {
                stands_alone |= matches!(field, 'L' | 'c' | 'e');
                let field = match field {
                    'L' => 'M',
                    'c' | 'e' => 'E',
                    field => *field,
                };
                if is_time(field) { time.push((field, *length)) } else { date.push((field, *length)) }
            }
        }
        date.sort_by_key(|(field, _)| "GyMEd".find(*field));
        let fallback =
            locale.get("g/dateTimeFormats/intervalFormats/intervalFormatFallback").unwrap_or("{0} – {1}");
        let mut intervals = Intervals {
            patterns: Vec::new(),
            date: None,
            time: Vec::new(),
            both: None,
            dated: None,
            extended: Vec::new(),
            fallback,
        };
        // Fields as CLDR's keys have them.
        let normal = |fields: &[(char, usize)]| -> Vec<(char, usize)> {
            fields
                .iter()
                .filter(|(field, _)| !matches!(field, 'a' | 'b'))
                .map(|(field, length)| match field {
                    'M' => ('M', if *length < 3 { 1 } else { *length }),
                    'E' => ('E', if *length < 4 { 1 } else { *length }),
                    'K' => ('h', 1),
                    'k' => ('H', 1),
                    'z' | 'O' => ('v', 1),
                    'y' => ('y', *length),
                    field => (*field, 1),
                })
                .collect()
        };
        let mut wanted = if time.is_empty() { date.clone() } else { time.clone() };
        let mut key_fields = normal(&wanted);
        // CLDR's keys begin with the day period.
        key_fields.sort_by_key(|(field, _)| "GyMEdBhHmsSv".find(*field));
        wanted.sort_by_key(|(field, _)| "GyMEdaBhHKkmsSzOv".find(*field));
        let has_time = !time.is_empty();
        let is_possible = !key_fields.iter().any(|(field, _)| matches!(field, 's' | 'S'));
        let patterns_of =
            |key_fields: &[(char, usize)], wanted: &[(char, usize)]| -> Vec<(char, Vec<Item>)> {
                let Some((is_exact, key)) = nearest(locale, key_fields) else { return Vec::new() };
                locale
                    .under(&format!("g/dateTimeFormats/intervalFormats/{}/", text_of(&key)))
                    .into_iter()
                    .filter_map(|(letter, pattern)| {
                        let items =
                            parse(pattern).into_iter().map(|item| widen(item, &key, wanted, hour, is_exact));
                        Some((letter.chars().next()?, items.collect()))
                    })
                    .collect()
            };
        if is_possible && (has_time || !stands_alone) {
            intervals.patterns = patterns_of(&key_fields, &wanted);
        }
        let shows = |letter: char| date.iter().any(|(field, _)| *field == letter);
        let is_exact = || nearest(locale, &key_fields).is_some_and(|(is_exact, _)| is_exact);
        if !has_time && !stands_alone && (shows('d') || shows('M')) && (!shows('E') || is_exact()) {
            // Where months or years differ they are shown as well.
            let (mut key_fields, mut wanted) = (key_fields.clone(), wanted.clone());
            for letter in ['M', 'y'].into_iter().filter(|letter| !shows(*letter)) {
                key_fields.insert(0, (letter, 1));
                wanted.insert(0, (letter, 1));
                let more = patterns_of(&key_fields, &wanted);
                intervals.patterns.extend(more.into_iter().filter(|(known, _)| *known == letter));
            }
        }
        // Times as wide as CLDR's patterns have them.
        let skeleton = |fields: &[(char, usize)]| {
            let fields: Vec<_> = fields
                .iter()
                .filter(|(field, _)| !matches!(field, 'a' | 'b'))
                .map(|(field, length)| {
                    (*field, if matches!(field, 'h' | 'H' | 'k' | 'K' | 'm' | 's') { 1 } else { *length })
                })
                .collect();
            text_of(&fields)
        };
        let with_hour = |mut items: Vec<Item>| {
            for item in &mut items {
                if let Item::Field(field @ ('h' | 'H' | 'k' | 'K'), _) = item {
                    *field = hour;
                }
            }
            items
        };
        if !time.is_empty() && date.is_empty() {
            let fields = format!("yMd{}", skeleton(&time));
            intervals.dated = Some(with_hour(generator.pattern_for_range(&fields)));
            intervals.time = with_hour(generator.pattern_for_range(&skeleton(&time)));
        } else if !time.is_empty() {
            if !intervals.patterns.is_empty() {
                let mut fields = text_of(&date) + &skeleton(&time);
                for (letter, difference) in
                    [('d', Difference::Day), ('M', Difference::Month), ('y', Difference::Year)]
                {
                    if !shows(letter) {
                        fields.insert(0, letter);
                        let pattern = with_hour(generator.pattern_for_range(&fields));
                        intervals.extended.push((difference, pattern));
                    }
                }
            }
            let glue = locale.get("g/dateTimeFormats/medium").unwrap_or("{1} {0}");
            // Where CLDR has no range of the time, ICU looks for both halves by the kinds of their fields alone.
            let fields_of = |fields: &[(char, usize)]| match intervals.patterns.is_empty() {
                true => skeleton(&plain(fields)),
                false => skeleton(fields),
            };
            let (date_fields, time_fields) = (fields_of(&date), fields_of(&time));
            intervals.date = Some((generator.pattern_for_range(&date_fields), glue));
            intervals.time = with_hour(generator.pattern_for_range(&time_fields));
            let fields = text_of(&date) + &skeleton(&time);
            intervals.both = Some(with_hour(generator.pattern_for_range(&fields)));
        }
        intervals
    }

    pub fn format(
        &self,
        pattern: &[Item],
        start: (i64, &Civil),
        end: (i64, &Civil),
        write: &Write<'_>,
    ) -> Range {
        let has = |letters: &str| {
            pattern.iter().any(|item| matches!(item, Item::Field(field, _) if letters.contains(*field)))
        };
        let difference = difference(start.1, end.1);
        let shown_alike = match difference {
            Difference::Nothing => true,
            Difference::Fraction => !has("S"),
            Difference::Second => !has("sS"),
            Difference::Minute => !has("msS"),
            Difference::Hour => !has("hHkKmsS"),
            Difference::Half => !has("abBhHkKmsS"),
            Difference::Day => !has("dEcabBhHkKmsS"),
            Difference::Month => !has("MLdEcabBhHkKmsS"),
            Difference::Year | Difference::Era => false,
        };
        if shown_alike {
            return Range::One(write(pattern, start.0).with_source("shared"));
        }
        let fallback = |items: &[Item]| self.two(write(items, start.0), write(items, end.0));
        let is_of_time = difference >= Difference::Half;
        let letters: &[char] = match difference {
            Difference::Era => &['G'],
            Difference::Year => &['y'],
            Difference::Month => &['M'],
            Difference::Day => &['d'],
            Difference::Half => &['a', 'B', 'H', 'h'],
            Difference::Hour => &['h', 'H', 'B'],
            _ => &['m'],
        };
        let found = letters
            .iter()
            .find_map(|letter| self.patterns.iter().find(|(known, _)| known == letter))
            .map(|(_, items)| items);
        if !has("hHkKmsSaBzOv") {
            return Range::Two(match found {
                Some(items) => self.interval(items, start.0, end.0, write),
                None => fallback(pattern),
            });
        }
        if !is_of_time {
            let extended = self.extended.iter().find(|(of, _)| *of == difference).map(|(_, items)| &**items);
            let whole = extended.or(self.dated.as_deref()).or(self.both.as_deref());
            return Range::Two(fallback(whole.unwrap_or(pattern)));
        }
        let time = match found {
            Some(items) => self.interval(items, start.0, end.0, write),
            None => fallback(&self.time),
        };
        let Some((date, glue)) = &self.date else { return Range::Two(time) };
        let date = write(date, start.0).with_source("shared");
        let mut parts = Parts::default();
        for piece in pieces(glue) {
            match piece {
                "{0}" => parts.extend(time.clone()),
                "{1}" => parts.extend(date.clone()),
                text => parts.extend(literal(text)),
            }
        }
        Range::Two(parts)
    }

    fn two(&self, start: Parts, end: Parts) -> Parts {
        let mut parts = Parts::default();
        for piece in pieces(self.fallback) {
            match piece {
                "{0}" => parts.0.extend(start.clone().with_source("startRange").0),
                "{1}" => parts.0.extend(end.clone().with_source("endRange").0),
                text => parts.0.extend(literal(text).0),
            }
        }
        parts
    }

    /// A pattern whose second half begins where a field comes again.
    fn interval(&self, items: &[Item], start: i64, end: i64, write: &Write<'_>) -> Parts {
        let letter = |item: &Item| match item {
            Item::Field('L', _) => Some('M'),
            Item::Field('c', _) => Some('E'),
            Item::Field(field, _) => Some(*field),
            Item::Text(_) => None,
        };
        let mut seen = Vec::new();
        let mut cut = items.len();
        for (place, item) in items.iter().enumerate() {
            let Some(field) = letter(item) else { continue };
            if seen.contains(&field) {
                cut = place;
                break;
            }
            seen.push(field);
        }
        let (first, second) = items.split_at(cut);
        let second_letters: Vec<char> = second.iter().filter_map(letter).collect();
        let again = |item: &Item| {
            letter(item).is_some_and(|field| second_letters.contains(&field) && seen.contains(&field))
        };
        let half = |items: &[Item], time_ms: i64, source: &'static str| -> Parts {
            let from = items.iter().position(again).unwrap_or(items.len());
            let to = items.iter().rposition(again).map_or(from, |place| place + 1);
            let mut parts = Parts::default();
            parts.extend(write(&items[..from], time_ms).with_source("shared"));
            parts.extend(write(&items[from..to], time_ms).with_source(source));
            parts.extend(write(&items[to..], time_ms).with_source("shared"));
            parts
        };
        let mut parts = half(first, start, "startRange");
        parts.extend(half(second, end, "endRange"));
        parts
    }
}

fn literal(text: &str) -> Parts {
    let value = crate::part::unquote(text);
    Parts(vec![Part { kind: "literal", value, source: Some("shared"), unit: None }])
}

/// The placeholders of a pattern and what stands between them.
fn pieces(pattern: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{']) {
        if at > 0 {
            pieces.push(&rest[..at]);
        }
        let Some(close) = rest[at..].find('}') else { break };
        pieces.push(&rest[at..=at + close]);
        rest = &rest[at + close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn difference(one: &Civil, other: &Civil) -> Difference {
    let pairs = [
        (u32::from(one.year > 0), u32::from(other.year > 0), Difference::Era),
        (one.year as u32, other.year as u32, Difference::Year),
        (one.month, other.month, Difference::Month),
        (one.day, other.day, Difference::Day),
        (one.hour / 12, other.hour / 12, Difference::Half),
        (one.hour, other.hour, Difference::Hour),
        (one.minute, other.minute, Difference::Minute),
        (one.second, other.second, Difference::Second),
        (one.millisecond, other.millisecond, Difference::Fraction),
    ];
    pairs
        .into_iter()
        .find(|(one, other, _)| one != other)
        .map_or(Difference::Nothing, |(_, _, difference)| difference)
}

/// The key of CLDR's interval formats that has the same fields, as near in their widths as there is one.
fn nearest(locale: Locale, wanted: &[(char, usize)]) -> Option<(bool, Vec<(char, usize)>)> {
    let mut keys: Vec<&str> = locale
        .under("g/dateTimeFormats/intervalFormats/")
        .into_iter()
        .filter_map(|(key, _)| key.split_once('/').map(|(key, _)| key))
        .collect();
    keys.dedup();
    let mut best: Option<(usize, Vec<(char, usize)>)> = None;
    for key in keys {
        let fields: Vec<(char, usize)> = parse(key)
            .into_iter()
            .filter_map(|item| match item {
                Item::Field(field, length) => Some((field, length)),
                Item::Text(_) => None,
            })
            .collect();
        let is_same = fields.len() == wanted.len()
            && wanted.iter().all(|(field, _)| fields.iter().any(|(other, _)| other == field));
        if !is_same {
            continue;
        }
        let distance: usize = wanted
            .iter()
            .filter_map(|(field, length)| {
                let (_, other) = fields.iter().find(|(other, _)| other == field)?;
                let is_number = |length: usize| length <= 2;
                let far = *field == 'M' && is_number(*length) != is_number(*other);
                Some(length.abs_diff(*other) + if far { 0x100 } else { 0 })
            })
            .sum();
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, fields));
        }
    }
    best.filter(|(distance, _)| *distance < 0x100).map(|(distance, fields)| (distance == 0, fields))
}

/// A field of an interval's pattern as wide as it is wanted.
fn widen(item: Item, key: &[(char, usize)], wanted: &[(char, usize)], hour: char, is_exact: bool) -> Item {
    let Item::Field(field, length) = item else { return item };
    let same = match field {
        'L' => 'M',
        'c' => 'E',
        field => field,
    };
    let is_hour = |field: char| matches!(field, 'h' | 'H' | 'k' | 'K');
    if same == 'v' || same == 'z' {
        let zone = wanted.iter().find(|(field, _)| matches!(field, 'z' | 'v' | 'O'));
        return zone.map_or(Item::Field(field, length), |(field, length)| Item::Field(*field, *length));
    }
    let wanted = wanted.iter().find(|(other, _)| *other == same || (is_hour(*other) && is_hour(same)));
    let key = key.iter().find(|(other, _)| *other == same || (is_hour(*other) && is_hour(same)));
    let (Some((_, wanted)), Some((_, key))) = (wanted, key) else { return Item::Field(field, length) };
    let shown = if is_hour(field) { hour } else { field };
    let wanted = if same == 'E' && *wanted < 4 { 1 } else { *wanted };
    // What stands in a pattern otherwise than in its key has a reason: a month's number with a word behind it.
    let is_as_in_key = length == *key && wanted > *key;
    if is_exact || matches!(same, 'm' | 's') || is_hour(same) || !is_as_in_key {
        return Item::Field(shown, length);
    }
    Item::Field(shown, wanted)
}
