//! One field of a cron expression: which numbers and names it takes, and what its lists, ranges and steps mean.

/// A field, as it is written. Texts that come here are in capitals.
pub(crate) struct Field {
    /// As messages call it.
    pub name: &'static str,
    min: u8,
    /// The largest value that there is.
    max: u8,
    /// The largest value that may be written: 7 is Sunday, as 0 is.
    written_max: u8,
    /// Names of the values, from `min` on.
    names: &'static [&'static str],
}

pub(crate) const MINUTE: Field = Field { name: "minute", min: 0, max: 59, written_max: 59, names: &[] };
pub(crate) const HOUR: Field = Field { name: "hour", min: 0, max: 23, written_max: 23, names: &[] };
pub(crate) const DAY: Field =
    Field { name: "day of the month", min: 1, max: 31, written_max: 31, names: &[] };
pub(crate) const MONTH: Field = Field {
    name: "month",
    min: 1,
    max: 12,
    written_max: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
pub(crate) const WEEKDAY: Field = Field {
    name: "day of the week",
    min: 0,
    max: 6,
    written_max: SUNDAY_AGAIN,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

/// Sunday as the last day of the week, so that `5-7` is a range.
const SUNDAY_AGAIN: u8 = 7;

/// A set of values: bit n is value n.
pub(crate) type Values = u64;

impl Field {
    /// All values of the field.
    pub fn all(&self) -> Values {
        (self.min..=self.max).fold(0, |values, value| values | 1 << value)
    }

    /// The values of a field that takes nothing special: `*`, or a list.
    pub fn values(&self, text: &str) -> Result<Values, String> {
        if text == "*" {
            return Ok(self.all());
        }
        text.split(',').try_fold(0, |values, item| Ok(values | self.item(item)?))
    }

    /// The values of one item of a list: `5`, `5-10`, `5-10/2`, `*/2`, `5/2`.
    pub fn item(&self, text: &str) -> Result<Values, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(self.step(text, step)?)),
            None => (text, None),
        };
        let (first, last) = match (range.split_once('-'), step) {
            _ if range == "*" && step.is_some() => (self.min, self.max),
            _ if range == "*" => {
                return Err(format!("the {} `*` is every value, and stands alone", self.name));
            }
            (Some((first, last)), _) => self.range(first, last)?,
            (None, None) => {
                let value = self.value(range)?;
                (value, value)
            }
            (None, Some(_)) if self.written_max != self.max => {
                // From Monday every second day: whether Sunday belongs to it depends on where a week ends.
                return Err(format!(
                    "the {} `{text}` needs a range before its step, as in `1-5/2`",
                    self.name
                ));
            }
            (None, Some(_)) => (self.value(range)?, self.max),
        };
        let values = (first..=last).step_by(step.unwrap_or(1));
        Ok(values.fold(0, |values, value| values | 1 << if value > self.max { self.min } else { value }))
    }

    /// A single value, as a number or a name.
    pub fn value(&self, text: &str) -> Result<u8, String> {
        if let Some(at) = self.names.iter().position(|name| *name == text) {
            return Ok(self.min + at as u8);
        }
        if text.is_empty() {
            return Err(format!("a value of the {} is missing", self.name));
        }
        let value = number(text).and_then(|value| u8::try_from(value).ok());
        value.filter(|value| (self.min..=self.written_max).contains(value)).ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            format!("`{text}` is no {}: {} to {}{names}", self.name, self.min, self.written_max)
        })
    }

    fn range(&self, first: &str, last: &str) -> Result<(u8, u8), String> {
        let (from, mut to) = (self.value(first)?, self.value(last)?);
        // By name, Sunday can end a range as well as begin one; as a number it has one for each.
        if last == "SUN" && from > 0 {
            to = SUNDAY_AGAIN;
        }
        if from > to {
            return Err(format!(
                "the {} `{first}-{last}` ends before it begins: write two ranges, `{first}-{},{}-{last}`",
                self.name,
                self.max_name(),
                self.min_name()
            ));
        }
        Ok((from, to))
    }

    /// As many as there are values at most: a larger step would run more often than it says.
    fn step(&self, item: &str, step: &str) -> Result<usize, String> {
        let steps_max = usize::from(self.max - self.min + 1);
        number(step).filter(|step| (1..=steps_max).contains(step)).ok_or_else(|| {
            format!("the step of the {} `{item}` must be a number from 1 to {steps_max}", self.name)
        })
    }

    fn min_name(&self) -> String {
        self.names.first().map_or_else(|| self.min.to_string(), |name| name.to_string())
    }

    fn max_name(&self) -> String {
        self.names.last().map_or_else(|| self.max.to_string(), |name| name.to_string())
    }
}

/// Digits and nothing else: `parse` alone would take a plus sign.
pub(crate) fn number(text: &str) -> Option<usize> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
