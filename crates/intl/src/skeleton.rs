//! Finds the pattern for the fields of a date that are asked for, as ICU's DateTimePatternGenerator does: CLDR has patterns for
//! common combinations; the nearest is taken, its fields are widened, and what it lacks is appended.

use crate::data::Locale;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Field(char, usize),
    Text(String),
}

pub fn parse(pattern: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut characters = pattern.chars().peekable();
    let mut quoted = false;
    let text = |items: &mut Vec<Item>, character: char| match items.last_mut() {
        Some(Item::Text(text)) => text.push(character),
        _ => items.push(Item::Text(character.into())),
    };
    while let Some(character) = characters.next() {
        match character {
            '\'' if characters.peek() == Some(&'\'') => {
                characters.next();
                text(&mut items, '\'');
            }
            '\'' => quoted = !quoted,
            'a'..='z' | 'A'..='Z' if !quoted => match items.last_mut() {
                Some(Item::Field(field, length)) if *field == character => *length += 1,
                _ => items.push(Item::Field(character, 1)),
            },
            _ => text(&mut items, character),
        }
    }
    items
}

const ERA: usize = 0;
const YEAR: usize = 1;
const MONTH: usize = 3;
const WEEKDAY: usize = 6;
const DAY_PERIOD: usize = 10;
const HOUR: usize = 11;
const MINUTE: usize = 12;
const SECOND: usize = 13;
const FRACTION: usize = 14;
const FIELDS: usize = 16;

const NARROW: i32 = -0x101;
const SHORTER: i32 = -0x102;
const SHORT: i32 = -0x103;
const LONG: i32 = -0x104;
const NUMERIC: i32 = 0x100;
const DELTA: i32 = 0x10;

/// Where a field belongs, and how it is written: numbers are positive, names negative.
fn kind_of(field: char, length: usize) -> Option<(usize, i32)> {
    let name = |delta: i32| match length {
        1..=3 => SHORT - delta,
        4 => LONG - delta,
        5 => NARROW - delta,
        _ => SHORTER - delta,
    };
    let number_or_name = |delta: i32| if length <= 2 { NUMERIC + delta } else { name(delta) };
    let (place, kind) = match field {
        'G' => (ERA, name(0)),
        'y' => (YEAR, NUMERIC),
        'Y' => (YEAR, NUMERIC + DELTA),
        'u' => (YEAR, NUMERIC + 2 * DELTA),
        'r' => (YEAR, NUMERIC + 3 * DELTA),
        'U' => (YEAR, name(0)),
        'Q' => (2, number_or_name(0)),
        'q' => (2, number_or_name(DELTA)),
        'M' => (MONTH, number_or_name(0)),
        'L' => (MONTH, number_or_name(DELTA)),
        'w' => (4, NUMERIC),
        'W' => (5, NUMERIC),
        'E' => (WEEKDAY, name(0)),
        'c' => (WEEKDAY, if length <= 2 { NUMERIC + 2 * DELTA } else { name(2 * DELTA) }),
        'e' => (WEEKDAY, number_or_name(DELTA)),
        'D' => (7, NUMERIC),
        'F' => (8, NUMERIC),
        'd' => (9, NUMERIC),
        'g' => (9, NUMERIC + DELTA),
        'a' => (DAY_PERIOD, name(0)),
        'b' => (DAY_PERIOD, name(DELTA)),
        'B' => (DAY_PERIOD, name(3 * DELTA)),
        'H' => (HOUR, NUMERIC + 10 * DELTA),
        'k' => (HOUR, NUMERIC + 11 * DELTA),
        'h' => (HOUR, NUMERIC),
        'K' => (HOUR, NUMERIC + DELTA),
        'm' => (MINUTE, NUMERIC),
        's' => (SECOND, NUMERIC),
        'A' => (SECOND, NUMERIC + DELTA),
        'S' => (FRACTION, NUMERIC),
        'v' => (15, if length < 4 { SHORT - 2 * DELTA } else { LONG - 2 * DELTA }),
        'z' => (15, if length < 4 { SHORT } else { LONG }),
        'O' => (15, if length < 4 { SHORT - DELTA } else { LONG - DELTA }),
        'Z' => (15, if length < 4 { NARROW - DELTA } else { LONG - DELTA }),
        'V' | 'X' | 'x' => (15, NARROW - DELTA),
        _ => return None,
    };
    Some((place, if kind > 0 { kind + length as i32 } else { kind }))
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skeleton {
    fields: [Option<(char, usize)>; FIELDS],
    kinds: [i32; FIELDS],
    /// Hours are as wide as a pattern has them, however wide they are asked for.
    keeps_hours: bool,
}

impl Skeleton {
    pub fn of(items: &[Item]) -> Skeleton {
        let mut skeleton = Skeleton::default();
        for item in items {
            if let Item::Field(field, length) = item
                && let Some((place, kind)) = kind_of(*field, *length)
            {
                skeleton.set(place, Some((*field, *length)), kind);
            }
        }
        if skeleton.fields[MINUTE].is_some()
            && skeleton.fields[FRACTION].is_some()
            && skeleton.fields[SECOND].is_none()
        {
            skeleton.set(SECOND, Some(('s', 1)), NUMERIC + 1);
        }
        match skeleton.fields[HOUR] {
            Some(('h' | 'K', _)) if skeleton.fields[DAY_PERIOD].is_none() => {
                skeleton.set(DAY_PERIOD, Some(('a', 1)), SHORT);
            }
            Some(('H' | 'k', _)) => skeleton.set(DAY_PERIOD, None, 0),
            _ => {}
        }
        skeleton
    }

    fn set(&mut self, place: usize, field: Option<(char, usize)>, kind: i32) {
        self.fields[place] = field;
        self.kinds[place] = kind;
    }

    fn mask(&self) -> u32 {
        (0..FIELDS).filter(|place| self.kinds[*place] != 0).map(|place| 1 << place).sum()
    }

    /// How far another one is away in the fields of `mask`, and which of these it lacks.
    fn distance(&self, other: &Skeleton, mask: u32) -> (i32, u32) {
        let (mut distance, mut missing) = (0, 0);
        for place in 0..FIELDS {
            let mine = if mask & (1 << place) == 0 { 0 } else { self.kinds[place] };
            let theirs = other.kinds[place];
            if mine == theirs {
                continue;
            }
            if mine == 0 {
                distance += 0x10000;
            } else if theirs == 0 {
                distance += 0x1000;
                missing |= 1 << place;
            } else {
                distance += (mine - theirs).abs();
            }
        }
        (distance, missing)
    }

    /// The first characters of the fields, by which ICU orders what it knows.
    fn order(&self) -> (u8, char) {
        let first = self.fields.iter().flatten().next().map_or('z', |(field, _)| *field);
        (u8::from(first.is_ascii_lowercase()), first)
    }
}

struct Known {
    skeleton: Skeleton,
    pattern: Vec<Item>,
    /// CLDR names the skeleton; else it is that of the pattern.
    is_specified: bool,
}

pub struct Generator {
    known: Vec<Known>,
    locale: Locale,
    decimal: &'static str,
}

const APPEND: [&str; FIELDS] = [
    "Era",
    "Year",
    "Quarter",
    "Month",
    "Week",
    "Week",
    "Day-Of-Week",
    "Day",
    "Day",
    "Day",
    "",
    "Hour",
    "Minute",
    "Second",
    "",
    "Timezone",
];
const NAMES: [&str; FIELDS] = [
    "era",
    "year",
    "quarter",
    "month",
    "week",
    "week",
    "weekday",
    "day",
    "day",
    "day",
    "dayperiod",
    "hour",
    "minute",
    "second",
    "second",
    "zone",
];

impl Generator {
    /// `decimal` stands before fractions of a second.
    pub fn new(locale: Locale, decimal: &'static str, is_buddhist: bool) -> Generator {
        let mut generator = Generator { known: Vec::new(), locale, decimal };
        for field in "GyQMwWEdDFBHmsSv".chars() {
            generator.add(vec![Item::Field(field, 1)], None, false);
        }
        for style in ["full", "long", "medium", "short"] {
            for kind in ["date", "time"] {
                if let Some(pattern) = locale.get(&format!("g/{kind}Formats/{style}")) {
                    generator.add(parse(pattern), None, false);
                }
            }
        }
        for (key, pattern) in locale.under("g/dateTimeFormats/availableFormats/") {
            if key.contains('-') {
                continue;
            }
            // Years of another era than the usual one are told apart by it.
            let pattern = if is_buddhist && key == "y" { "G y" } else { pattern };
            generator.add(parse(pattern), Some(key), true);
        }
        generator.known.sort_by_key(|known| known.skeleton.order());
        generator
    }

    fn add(&mut self, pattern: Vec<Item>, key: Option<&str>, replaces: bool) {
        let skeleton = Skeleton::of(&key.map_or_else(|| pattern.clone(), parse));
        let same_base = |known: &Known| {
            (0..FIELDS).all(|place| {
                let base = |kind: i32| if kind > 0 { kind & !0xf } else { kind };
                base(known.skeleton.kinds[place]) == base(skeleton.kinds[place])
            })
        };
        if !replaces && self.known.iter().any(same_base) {
            return;
        }
        self.known.retain(|known| known.skeleton.kinds != skeleton.kinds);
        self.known.push(Known { skeleton, pattern, is_specified: key.is_some() });
    }

    fn nearest(&self, wanted: &Skeleton, mask: u32) -> (&Known, i32, u32) {
        let mut best: Option<(&Known, i32, u32)> = None;
        for known in &self.known {
            let both = (1 << SECOND) | (1 << FRACTION);
            if mask & both == both && known.skeleton.mask() == 1 << FRACTION {
                // Fractions follow their second, never the other way round.
                continue;
            }
            let (distance, missing) = wanted.distance(&known.skeleton, mask);
            if best.as_ref().is_none_or(|(_, least, _)| distance < *least) {
                best = Some((known, distance, missing));
            }
        }
        best.expect("the generator knows single fields")
    }

    pub fn pattern(&self, skeleton: &str) -> Vec<Item> {
        let wanted = Skeleton::of(&parse(skeleton));
        self.best(&wanted)
    }

    /// The same for ranges, for which ICU leaves hours as wide as CLDR has them.
    pub fn pattern_for_range(&self, skeleton: &str) -> Vec<Item> {
        let wanted = Skeleton { keeps_hours: true, ..Skeleton::of(&parse(skeleton)) };
        self.best(&wanted)
    }

    pub fn best(&self, wanted: &Skeleton) -> Vec<Item> {
        let (known, distance, missing) = self.nearest(wanted, wanted.mask());
        if missing == 0 && distance < 0x10000 {
            return self.adjust(known, wanted, false);
        }
        let date_mask = (1 << DAY_PERIOD) - 1;
        let date = self.appending(wanted, wanted.mask() & date_mask);
        let time = self.appending(wanted, wanted.mask() & !date_mask);
        match (date, time) {
            (Some(date), Some(time)) => {
                let style = match (wanted.fields[MONTH], wanted.fields[WEEKDAY]) {
                    (Some((_, 4)), Some(_)) => "full",
                    (Some((_, 4)), None) => "long",
                    (Some((_, 3)), _) => "medium",
                    _ => "short",
                };
                let at_time = self.locale.get(&format!("g/dateTimeFormats-atTime/standard/{style}"));
                join(at_time.unwrap_or("{1} {0}"), &time, &date)
            }
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }

    fn appending(&self, wanted: &Skeleton, mask: u32) -> Option<Vec<Item>> {
        if mask == 0 {
            return None;
        }
        let (known, _, mut missing) = self.nearest(wanted, mask);
        let mut items = self.adjust(known, wanted, false);
        while missing != 0 {
            let both = (1 << SECOND) | (1 << FRACTION);
            if missing & both == 1 << FRACTION && mask & both == both {
                items = self.adjust(
                    &Known {
                        skeleton: known.skeleton.clone(),
                        pattern: items,
                        is_specified: known.is_specified,
                    },
                    wanted,
                    true,
                );
                missing &= !(1 << FRACTION);
                continue;
            }
            let (more, _, rest) = self.nearest(wanted, missing);
            let found = missing & !rest;
            if found == 0 {
                break;
            }
            let more = self.adjust(more, wanted, false);
            let top = (31 - found.leading_zeros()) as usize;
            let format = self
                .locale
                .get(&format!("g/dateTimeFormats/appendItems/{}", APPEND[top]))
                .unwrap_or("{0} {1}");
            let name = self.locale.get(&format!("f/{}/displayName", NAMES[top])).unwrap_or_default();
            let format = format.replace("{2}", &format!("'{name}'"));
            items = join(&format, &items, &more);
            missing = rest;
        }
        Some(items)
    }

    /// The pattern with its fields as wide as they are wanted.
    fn adjust(&self, known: &Known, wanted: &Skeleton, with_fraction: bool) -> Vec<Item> {
        let mut items = Vec::new();
        for item in &known.pattern {
            let Item::Field(field, length) = item else {
                items.push(item.clone());
                continue;
            };
            let Some((place, kind)) = kind_of(*field, *length) else {
                items.push(item.clone());
                continue;
            };
            let (mut adjusted_field, mut adjusted) = (*field, *length);
            if let Some((wanted_field, wanted_length)) =
                wanted.fields[place].filter(|_| wanted.kinds[place] != 0)
            {
                let wanted_length = if wanted_field == 'E' && wanted_length < 3 { 3 } else { wanted_length };
                adjusted = wanted_length;
                if place == MINUTE || place == SECOND || (place == HOUR && wanted.keeps_hours) {
                    adjusted = *length;
                } else if known.is_specified && !matches!(wanted_field, 'c' | 'e') {
                    let known_length = known.skeleton.fields[place].map_or(0, |(_, length)| length);
                    let is_number = kind > 0;
                    let wants_number = wanted.kinds[place] > 0;
                    if known_length == wanted_length || is_number != wants_number {
                        adjusted = *length;
                    }
                }
                if place != HOUR
                    && place != MONTH
                    && place != WEEKDAY
                    && (place != YEAR || wanted_field == 'Y')
                {
                    adjusted_field = wanted_field;
                }
            }
            items.push(Item::Field(adjusted_field, adjusted));
            if with_fraction
                && place == SECOND
                && let Some((_, digits)) = wanted.fields[FRACTION]
            {
                items.push(Item::Text(self.decimal.into()));
                items.push(Item::Field('S', digits));
            }
        }
        items
    }
}

/// `glue` with `{0}` and `{1}`.
pub fn join(glue: &str, zero: &[Item], one: &[Item]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = glue;
    let mut literal = String::new();
    while !rest.is_empty() {
        let part = if rest.starts_with("{0}") {
            Some(zero)
        } else if rest.starts_with("{1}") {
            Some(one)
        } else {
            None
        };
        if let Some(part) = part {
            items.extend(parse(&std::mem::take(&mut literal)));
            items.extend_from_slice(part);
            rest = &rest[3..];
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            literal.push_str(&rest[..length]);
            rest = &rest[length..];
        }
    }
    items.extend(parse(&literal));
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn text(items: &[Item]) -> String {
        items
            .iter()
            .map(|item| match item {
                Item::Field(field, length) => field.to_string().repeat(*length),
                Item::Text(text) => text.clone(),
            })
            .collect()
    }

    fn pattern(locale: &str, skeleton: &str) -> String {
        let locale = Locale::find(locale).expect("a locale");
        text(&Generator::new(locale, ".", false).pattern(skeleton)).replace('\u{202f}', " ")
    }

    #[test]
    fn patterns_are_those_that_icu_generates() {
        for (locale, skeleton, expected) in [
            ("en", "yMd", "M/d/y"),
            ("en", "yMMdd", "MM/dd/y"),
            ("en", "yMMMMEEEEd", "EEEE, MMMM d, y"),
            ("en", "yMdjms".replace('j', "h").as_str(), "M/d/y, h:mm:ss a"),
            ("de", "yMd", "d.M.y"),
            ("de", "yMMdd", "dd.MM.y"),
            ("de", "Hm", "HH:mm"),
            ("en-GB", "yMd", "dd/MM/y"),
            ("ja", "yMMMd", "y年M月d日"),
            ("en", "ms", "mm:ss"),
            ("en", "m", "m"),
            ("en", "hmsSSSz", "h:mm:ss.SSS a z"),
        ] {
            assert_eq!(pattern(locale, skeleton), expected, "{locale} {skeleton}");
        }
    }

    #[test]
    fn a_range_has_the_hours_of_its_locale() {
        let locale = Locale::find("de").expect("a locale");
        let generator = Generator::new(locale, ",", false);
        assert_eq!(text(&generator.pattern("Hmszzzz")), "H:mm:ss zzzz");
        assert_eq!(text(&generator.pattern_for_range("Hmszzzz")), "HH:mm:ss zzzz");
    }
}
