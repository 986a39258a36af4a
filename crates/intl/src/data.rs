//! What CLDR says in each locale, from the one table that the build script makes (build/table.rs). It is part of the program:
//! nothing is read or copied before somebody asks, and all isolates of a process share it.

static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cldr.bin"));

const HEADER: usize = 4 * 4;
const NO_PARENT: u32 = u32::MAX;

/// A locale of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locale(usize);

fn number(at: usize) -> usize {
    let bytes: [u8; 4] = BYTES[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(bytes) as usize
}

fn locales() -> usize {
    number(0)
}

fn keys() -> usize {
    number(4)
}

fn texts() -> usize {
    number(8)
}

fn entries() -> usize {
    number(12)
}

fn ends() -> usize {
    HEADER + locales() * 12 + 4
}

fn entry_texts() -> usize {
    ends() + (keys() + texts()) * 4
}

fn entry_keys() -> usize {
    entry_texts() + entries() * 4
}

/// A key, or after all keys a text.
fn text(place: usize) -> &'static str {
    let bytes = entry_keys() + entries() * 2;
    let end = |place: usize| number(ends() + place * 4);
    let start = if place == 0 { 0 } else { end(place - 1) };
    std::str::from_utf8(&BYTES[bytes + start..bytes + end(place)]).expect("the build script writes UTF-8")
}

/// The place of the first of `count` that is not smaller, and whether it is equal.
fn search(count: usize, compare: impl Fn(usize) -> std::cmp::Ordering) -> Option<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high) / 2;
        match compare(middle) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

impl Locale {
    pub fn find(name: &str) -> Option<Locale> {
        search(locales(), |place| Locale(place).name().cmp(name)).map(Locale)
    }

    pub fn name(self) -> &'static str {
        text(number(HEADER + self.0 * 12))
    }

    fn parent(self) -> Option<Locale> {
        let parent = number(HEADER + self.0 * 12 + 4);
        (parent != NO_PARENT as usize).then_some(Locale(parent))
    }

    fn own(self, key: usize) -> Option<&'static str> {
        let (start, end) = (
            number(HEADER + self.0 * 12 + 8),
            number(HEADER + (self.0 + 1) * 12 + if self.0 + 1 == locales() { 0 } else { 8 }),
        );
        let key_at = |place: usize| {
            let at = entry_keys() + (start + place) * 2;
            usize::from(u16::from_le_bytes([BYTES[at], BYTES[at + 1]]))
        };
        let place = search(end - start, |place| key_at(place).cmp(&key))?;
        Some(text(keys() + number(entry_texts() + (start + place) * 4)))
    }

    /// What the locale says under a key, by itself or as its parents do.
    pub fn get(self, key: &str) -> Option<&'static str> {
        let key = search(keys(), |place| text(place).cmp(key))?;
        let mut locale = Some(self);
        while let Some(at) = locale {
            if let Some(text) = at.own(key) {
                return (!text.is_empty()).then_some(text);
            }
            locale = at.parent();
        }
        None
    }

    /// All keys that begin with `prefix`, without it, and what the locale says under them.
    pub fn under(self, prefix: &str) -> Vec<(&'static str, &'static str)> {
        let mut low = 0;
        let mut high = keys();
        while low < high {
            let middle = (low + high) / 2;
            if text(middle) < prefix {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..keys())
            .map(|place| (place, text(place)))
            .take_while(|(_, key)| key.starts_with(prefix))
            .filter_map(|(_, key)| Some((&key[prefix.len()..], self.get(key)?)))
            .collect()
    }
}

/// What CLDR says of all locales together.
pub fn supplement(key: &str) -> Option<&'static str> {
    let key = search(keys(), |place| text(place).cmp(key))?;
    Locale::find("supplement")?.own(key)
}

pub fn supplement_under(prefix: &str) -> Vec<(&'static str, &'static str)> {
    Locale::find("supplement").map_or_else(Vec::new, |supplement| supplement.under(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_says_what_it_has_itself_and_the_rest_as_its_parents() {
        let german = Locale::find("de").expect("there is German");
        assert_eq!(german.get("g/months/format/wide/3"), Some("März"));
        let austrian = Locale::find("de-AT").expect("there is Austrian German");
        assert_eq!(austrian.get("g/months/format/wide/1"), Some("Jänner"));
        assert_eq!(austrian.get("g/months/format/wide/3"), Some("März"));
        assert_eq!(austrian.get("no such key"), None);
        assert_eq!(Locale::find("de-XX"), None);
    }

    #[test]
    fn every_locale_reaches_the_root_and_has_what_formatting_needs() {
        for locale in (0..locales()).map(Locale).filter(|locale| locale.name() != "supplement") {
            for key in [
                "g/dateTimeFormats/availableFormats/yMd",
                "n/defaultNumberingSystem",
                "g/months/format/wide/12",
            ] {
                assert!(locale.get(key).is_some(), "{} has no {key}", locale.name());
            }
        }
    }

    #[test]
    fn the_supplement_is_there() {
        assert_eq!(supplement("fraction/JPY"), Some("0"));
        assert_eq!(supplement("zone/asia/kolkata"), Some("Asia/Calcutta IN inccu"));
    }
}
