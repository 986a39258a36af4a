//! `Intl.NumberFormat`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::data::{self, supplement};
use crate::decimal::{Decimal, Number};
use crate::digits::{DigitOptions, Digits};
use crate::error::{Error, Result};
use crate::locale::{self, Chosen};
use crate::part::{Part, Parts, fill, fill_as};
use crate::plural::Plurals;

#[derive(Deserialize, Default, Clone)]
#[serde(rename_all = "camelCase", default)]
pub struct NumberOptions {
    pub numbering_system: Option<String>,
    style: Option<String>,
    currency: Option<String>,
    currency_display: Option<String>,
    currency_sign: Option<String>,
    unit: Option<String>,
    unit_display: Option<String>,
    notation: Option<String>,
    compact_display: Option<String>,
    sign_display: Option<String>,
    /// "auto", "always", "min2" or "false".
    use_grouping: Option<String>,
    #[serde(flatten)]
    digits: DigitOptions,
}

/// Up to this power of ten CLDR names compact numbers in every language, and up to the second one in some: Japanese counts on.
const NAMED_MAGNITUDE_MAX: i64 = 14;
const NAMED_MAGNITUDE_MAX_ANYWHERE: i64 = 19;

/// What a numbering system writes in a locale.
#[derive(Clone)]
pub struct Symbols {
    pub system: String,
    digits: [char; 10],
    decimal: &'static str,
    group: &'static str,
    minus: &'static str,
    plus: &'static str,
    percent: &'static str,
    exponent: &'static str,
    infinity: &'static str,
    nan: &'static str,
    approximately: &'static str,
    /// As `system`, or latn where the locale has nothing of its own for it.
    data: &'static str,
}

impl Symbols {
    pub fn new(locale: data::Locale, system: &str) -> Result<Symbols> {
        let digits = locale::digits(system)
            .ok_or_else(|| Error::range(format!("the numbering system {system} is not available")))?;
        let own = locale.under(&format!("n/symbols-numberSystem-{system}/"));
        let data = if own.is_empty() { "latn" } else { known_system(system).unwrap_or("latn") };
        let symbol = |name: &str, otherwise: &'static str| {
            locale.get(&format!("n/symbols-numberSystem-{data}/{name}")).unwrap_or(otherwise)
        };
        Ok(Symbols {
            system: system.into(),
            digits,
            decimal: symbol("decimal", "."),
            group: symbol("group", ","),
            minus: symbol("minusSign", "-"),
            plus: symbol("plusSign", "+"),
            percent: symbol("percentSign", "%"),
            exponent: symbol("exponential", "E"),
            infinity: symbol("infinity", "∞"),
            nan: symbol("nan", "NaN"),
            approximately: symbol("approximatelySign", "~"),
            data,
        })
    }

    /// ASCII digits in this numbering system.
    pub fn write(&self, digits: &str) -> String {
        digits
            .chars()
            .map(|digit| digit.to_digit(10).map_or(digit, |digit| self.digits[digit as usize]))
            .collect()
    }

    pub fn decimal(&self) -> &'static str {
        self.decimal
    }
}

/// The name of a numbering system as the table has it.
fn known_system(system: &str) -> Option<&'static str> {
    data::supplement_under("digits/").into_iter().map(|(name, _)| name).find(|name| *name == system)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Minus,
    Plus,
    Percent,
    Currency,
    Text(char),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Affixes {
    prefix: Vec<Token>,
    suffix: Vec<Token>,
}

/// A pattern of CLDR, like `#,##0.00 ¤;(#,##0.00 ¤)`.
#[derive(Clone, Debug)]
struct Pattern {
    positive: Affixes,
    negative: Option<Affixes>,
    primary: usize,
    secondary: usize,
    /// How many digits are asked for before the point.
    zeros: usize,
}

impl Pattern {
    fn parse(text: &str) -> Pattern {
        let mut halves = vec![String::new()];
        let mut quoted = false;
        for character in text.chars() {
            quoted ^= character == '\'';
            if character == ';' && !quoted {
                halves.push(String::new());
            } else if let Some(half) = halves.last_mut() {
                half.push(character);
            }
        }
        let (positive, body) = Pattern::half(&halves[0]);
        let negative = halves.get(1).map(|half| Pattern::half(half).0);
        let whole = body.split(['.', 'E']).next().unwrap_or_default();
        let groups: Vec<usize> = whole.rsplit(',').map(str::len).collect();
        let primary = if groups.len() > 1 { groups[0] } else { 0 };
        let secondary = if groups.len() > 2 { groups[1] } else { primary };
        Pattern { positive, negative, primary, secondary, zeros: whole.matches('0').count() }
    }

    fn half(text: &str) -> (Affixes, String) {
        let mut affixes = Affixes::default();
        let mut body = String::new();
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let tokens = if body.is_empty() { &mut affixes.prefix } else { &mut affixes.suffix };
            match character {
                '\'' if characters.peek() == Some(&'\'') => {
                    characters.next();
                    tokens.push(Token::Text('\''));
                }
                '\'' => quoted = !quoted,
                _ if quoted => tokens.push(Token::Text(character)),
                '#' | '0' | ',' | '.' => body.push(character),
                // The exponent follows the digits.
                'E' if !body.is_empty() => body.push(character),
                '-' => tokens.push(Token::Minus),
                '+' => tokens.push(Token::Plus),
                '%' => tokens.push(Token::Percent),
                '¤' => tokens.push(Token::Currency),
                _ => tokens.push(Token::Text(character)),
            }
        }
        (affixes, body)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    None,
    Minus,
    Plus,
    /// Both ends of a range look like this.
    About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    Auto,
    Always,
    Min2,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    Standard,
    Scientific,
    Engineering,
    Compact,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Style {
    Decimal,
    Percent,
    Currency { code: String, display: String, sign: String },
    Unit { unit: String, display: String },
}

pub struct NumberFormat {
    shown: String,
    chosen: Chosen,
    symbols: Symbols,
    style: Style,
    notation: Notation,
    compact_long: bool,
    sign_display: String,
    grouping: Grouping,
    digits: Digits,
    plurals: Plurals,
    pattern: Pattern,
    least_grouping: usize,
    /// What stands for the currency.
    currency: String,
}

/// How many digits a currency has behind the point.
pub fn currency_digits(code: &str) -> u32 {
    let key = |code: &str| supplement(&format!("fraction/{code}")).and_then(|digits| digits.parse().ok());
    key(code).or_else(|| key("DEFAULT")).unwrap_or(2)
}

fn is_unit(unit: &str) -> bool {
    let is_simple =
        |unit: &str| supplement("units").is_some_and(|units| units.split(' ').any(|known| known == unit));
    is_simple(unit) || unit.split_once("-per-").is_some_and(|(one, other)| is_simple(one) && is_simple(other))
}

impl NumberFormat {
    pub fn new(locales: &[String], options: NumberOptions) -> Result<NumberFormat> {
        let chosen = locale::choose(locales)?;
        let mut keys = Vec::new();
        let system = locale::numbering_system(&chosen, options.numbering_system.as_deref(), &mut keys)?;
        let symbols = Symbols::new(chosen.data, &system)?;
        let text =
            |option: &Option<String>, otherwise: &str| option.clone().unwrap_or_else(|| otherwise.into());
        let style =
            match options.style.as_deref().unwrap_or("decimal") {
                "percent" => Style::Percent,
                "currency" => Style::Currency {
                    code: options.currency.as_ref().map(|code| code.to_ascii_uppercase()).ok_or_else(
                        || Error::Type("Currency code is required with currency style.".into()),
                    )?,
                    display: text(&options.currency_display, "symbol"),
                    sign: text(&options.currency_sign, "standard"),
                },
                "unit" => {
                    let unit = options.unit.clone().ok_or_else(|| {
                        Error::Type("Invalid unit argument for Intl.NumberFormat() ''".into())
                    })?;
                    if !is_unit(&unit) {
                        return Err(Error::range(format!(
                            "Invalid unit argument for Intl.NumberFormat() '{unit}'"
                        )));
                    }
                    Style::Unit { unit, display: text(&options.unit_display, "short") }
                }
                _ => Style::Decimal,
            };
        let notation_name = text(&options.notation, "standard");
        let notation = match notation_name.as_str() {
            "scientific" => Notation::Scientific,
            "engineering" => Notation::Engineering,
            "compact" => Notation::Compact,
            _ => Notation::Standard,
        };
        let (least, most) = match &style {
            Style::Currency { code, .. } if notation == Notation::Standard => {
                let digits = currency_digits(code);
                (digits, digits)
            }
            Style::Percent => (0, 0),
            _ => (0, 3),
        };
        let digits = Digits::resolve(&options.digits, least, most, &notation_name)?;
        let otherwise = if notation == Notation::Compact { Grouping::Min2 } else { Grouping::Auto };
        let grouping = match options.use_grouping.as_deref() {
            Some("always") => Grouping::Always,
            Some("auto") => Grouping::Auto,
            Some("min2") => Grouping::Min2,
            Some("false") => Grouping::Off,
            _ => otherwise,
        };
        let plurals = Plurals::new(&chosen, false)?;
        let mut format = NumberFormat {
            shown: locale::shown_name(&chosen.name, &keys),
            pattern: Pattern::parse("#,##0.###"),
            least_grouping: chosen
                .data
                .get("n/minimumGroupingDigits")
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(1),
            chosen,
            symbols,
            style,
            notation,
            compact_long: options.compact_display.as_deref() == Some("long"),
            sign_display: text(&options.sign_display, "auto"),
            grouping,
            digits,
            plurals,
            currency: String::new(),
        };
        format.set_pattern()?;
        Ok(format)
    }

    /// Numbers in the digits of a locale, as other formats need them.
    pub fn plain(chosen: &Chosen, symbols: Symbols) -> Result<NumberFormat> {
        Ok(NumberFormat {
            shown: chosen.name.clone(),
            pattern: Pattern::parse(
                chosen
                    .data
                    .get(&format!("n/decimalFormats-numberSystem-{}/standard", symbols.data))
                    .unwrap_or("#,##0.###"),
            ),
            least_grouping: chosen
                .data
                .get("n/minimumGroupingDigits")
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(1),
            plurals: Plurals::new(chosen, false)?,
            chosen: chosen.clone(),
            symbols,
            style: Style::Decimal,
            notation: Notation::Standard,
            compact_long: false,
            sign_display: "auto".into(),
            grouping: Grouping::Auto,
            digits: Digits::resolve(&DigitOptions::default(), 0, 3, "standard")?,
            currency: String::new(),
        })
    }

    pub fn plurals(&self) -> &Plurals {
        &self.plurals
    }

    fn say(&self, key: &str) -> Option<&'static str> {
        self.chosen.data.get(key)
    }

    /// Percentages, and the unit percent where it is not spelled out.
    fn has_percent_sign(&self) -> bool {
        match &self.style {
            Style::Percent => true,
            Style::Unit { unit, display } => {
                unit == "percent" && display != "long" && self.notation != Notation::Compact
            }
            _ => false,
        }
    }

    fn set_pattern(&mut self) -> Result<()> {
        let system = self.symbols.data;
        let get = |key: &str| self.chosen.data.get(&format!("n/{key}"));
        let scientific = matches!(self.notation, Notation::Scientific | Notation::Engineering);
        let decimal = get(&format!("decimalFormats-numberSystem-{system}/standard")).unwrap_or("#,##0.###");
        let mut currency = None;
        let mut separators = (None, None);
        let pattern = match &self.style {
            _ if self.has_percent_sign() => {
                get(&format!("percentFormats-numberSystem-{system}/standard")).unwrap_or("#,##0%")
            }
            Style::Currency { code, display, sign } if display != "name" => {
                let name = |kind: &str| self.chosen.data.get(&format!("c/{code}/{kind}"));
                let symbol = match display.as_str() {
                    "code" => None,
                    "narrowSymbol" => name("symbol-alt-narrow").or_else(|| name("symbol")),
                    _ => name("symbol"),
                };
                currency = Some(symbol.map_or_else(|| code.clone(), str::to_owned));
                separators = (
                    get(&format!("symbols-numberSystem-{system}/currencyDecimal")),
                    get(&format!("symbols-numberSystem-{system}/currencyGroup")),
                );
                let kind = if sign == "accounting" { "accounting" } else { "standard" };
                get(&format!("currencyFormats-numberSystem-{system}/{kind}")).unwrap_or("¤#,##0.00")
            }
            _ => decimal,
        };
        self.pattern = Pattern::parse(pattern);
        if scientific {
            // No groups; the exponent is written by hand.
            (self.pattern.primary, self.pattern.secondary) = (0, 0);
        }
        self.currency = currency.unwrap_or_default();
        if let Some(decimal) = separators.0 {
            self.symbols.decimal = decimal;
        }
        if let Some(group) = separators.1 {
            self.symbols.group = group;
        }
        Ok(())
    }

    pub fn format(&self, number: &Number) -> Parts {
        let Body { digits, sign, pattern, plural, .. } = self.body(number);
        self.with_unit(self.affix(digits, sign, &pattern), plural)
    }

    fn body(&self, number: &Number) -> Body {
        let mut texts = (String::new(), String::new());
        let mut parts = Parts::default();
        let mut pattern = self.pattern.clone();
        let (negative, is_zero, plural) = match number {
            Number::NaN => {
                parts.push("nan", self.symbols.nan);
                (false, true, "other")
            }
            Number::Infinity { negative } => {
                parts.push("infinity", self.symbols.infinity);
                (*negative, false, "other")
            }
            Number::Finite(decimal) => {
                let negative = decimal.negative;
                let decimal =
                    if self.style == Style::Percent { decimal.clone().shift(2) } else { decimal.clone() };
                let (exponent, compact) = match self.notation {
                    Notation::Standard => (0, None),
                    Notation::Compact => self.compact(&decimal),
                    Notation::Scientific => (self.exponent(&decimal, 1), None),
                    Notation::Engineering => (self.exponent(&decimal, 3), None),
                };
                let scaled = decimal.shift(-exponent);
                let (whole, fraction) = self.digits.texts(&scaled);
                let is_zero = whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
                self.write_digits(&mut parts, &whole, &fraction);
                if matches!(self.notation, Notation::Scientific | Notation::Engineering) {
                    parts.push("exponentSeparator", self.symbols.exponent);
                    if exponent < 0 {
                        parts.push("exponentMinusSign", self.symbols.minus);
                    }
                    parts.push("exponentInteger", self.symbols.write(&exponent.unsigned_abs().to_string()));
                }
                let plural = self.plurals.category(&whole, &fraction);
                if let Some(of) =
                    compact.and_then(|magnitude| self.compact_pattern(magnitude, plural, &whole, &fraction))
                {
                    if of.zeros == 0 {
                        // A word stands for the number ("mille").
                        parts = Parts::default();
                    }
                    pattern = of;
                }
                texts = (whole, fraction);
                (negative, is_zero, plural)
            }
        };
        let sign = match (self.sign_display.as_str(), negative) {
            ("never", _) => Sign::None,
            ("always", true) => Sign::Minus,
            ("always", false) => Sign::Plus,
            ("exceptZero" | "negative", _) if is_zero => Sign::None,
            ("exceptZero", false) => Sign::Plus,
            (_, true) => Sign::Minus,
            (_, false) => Sign::None,
        };
        Body { digits: parts, sign, pattern, plural, texts }
    }

    fn write_digits(&self, parts: &mut Parts, whole: &str, fraction: &str) {
        let (primary, secondary) = (self.pattern.primary, self.pattern.secondary);
        let least = match self.grouping {
            Grouping::Off => usize::MAX,
            Grouping::Always => 1,
            Grouping::Auto => self.least_grouping,
            Grouping::Min2 => self.least_grouping.max(2),
        };
        let groups = primary > 0 && least != usize::MAX && whole.len() >= primary + least;
        if groups {
            let mut cuts = Vec::new();
            let mut at = whole.len() - primary;
            while at > 0 {
                cuts.push(at);
                at = at.saturating_sub(secondary.max(1));
            }
            let mut start = 0;
            for cut in cuts.into_iter().rev() {
                parts.push("integer", self.symbols.write(&whole[start..cut]));
                parts.push("group", self.symbols.group);
                start = cut;
            }
            parts.push("integer", self.symbols.write(&whole[start..]));
        } else {
            parts.push("integer", self.symbols.write(whole));
        }
        if !fraction.is_empty() {
            parts.push("decimal", self.symbols.decimal);
            parts.push("fraction", self.symbols.write(fraction));
        }
    }

    /// The exponent of scientific notation, a multiple of `step`.
    fn exponent(&self, decimal: &Decimal, step: i64) -> i64 {
        if decimal.is_zero() {
            return 0;
        }
        let of = |magnitude: i64| magnitude.div_euclid(step) * step;
        let exponent = of(decimal.magnitude());
        let rounded = self.digits.round(&decimal.clone().shift(-exponent));
        of(rounded.magnitude() + exponent)
    }

    fn compact_key(&self, magnitude: i64) -> String {
        let system = self.symbols.data;
        let power = format!("1{}", "0".repeat(usize::try_from(magnitude).unwrap_or(0)));
        let kind = match &self.style {
            Style::Currency { display, .. } if display != "name" => {
                format!("currencyFormats-numberSystem-{system}/short/standard")
            }
            _ => {
                let length = if self.compact_long { "long" } else { "short" };
                format!("decimalFormats-numberSystem-{system}/{length}/decimalFormat")
            }
        };
        format!("n/{kind}/{power}-count-")
    }

    /// The magnitude that has a name: of what is larger than all names, that of the largest.
    fn compact_magnitude(&self, magnitude: i64) -> i64 {
        let has_name =
            |magnitude: &i64| self.say(&format!("{}other", self.compact_key(*magnitude))).is_some();
        let larger = (NAMED_MAGNITUDE_MAX + 1)..=magnitude.min(NAMED_MAGNITUDE_MAX_ANYWHERE);
        larger.rev().find(has_name).unwrap_or(magnitude.min(NAMED_MAGNITUDE_MAX))
    }

    /// By which power of ten a number of this magnitude is divided, and the magnitude whose pattern is used.
    fn compact_shift(&self, magnitude: i64) -> (i64, Option<i64>) {
        if magnitude < 3 {
            return (0, None);
        }
        let magnitude = self.compact_magnitude(magnitude);
        match self.say(&format!("{}other", self.compact_key(magnitude))) {
            Some(pattern) if pattern != "0" => {
                (magnitude + 1 - Pattern::parse(pattern).zeros as i64, Some(magnitude))
            }
            _ => (0, None),
        }
    }

    fn compact(&self, decimal: &Decimal) -> (i64, Option<i64>) {
        let (shift, magnitude) = self.compact_shift(decimal.magnitude());
        let rounded = self.digits.round(&decimal.clone().shift(-shift)).shift(shift);
        if rounded.magnitude() > decimal.magnitude() && !rounded.is_zero() {
            return self.compact_shift(rounded.magnitude());
        }
        (shift, magnitude)
    }

    fn compact_pattern(&self, magnitude: i64, plural: &str, whole: &str, fraction: &str) -> Option<Pattern> {
        let key = self.compact_key(magnitude);
        let exact = (whole == "1" && fraction.is_empty()).then(|| self.say(&format!("{key}1"))).flatten();
        let text = exact
            .or_else(|| self.say(&format!("{key}{plural}")))
            .or_else(|| self.say(&format!("{key}other")))?;
        Some(Pattern::parse(text))
    }

    /// Puts the pattern's affixes and the sign around digits.
    fn affix(&self, body: Parts, sign: Sign, pattern: &Pattern) -> Parts {
        let plus_for_minus =
            matches!(sign, Sign::Plus | Sign::About) && !pattern.positive.prefix.contains(&Token::Plus);
        let has_minus = |affixes: &Affixes| {
            affixes.prefix.contains(&Token::Minus) || affixes.suffix.contains(&Token::Minus)
        };
        let own = pattern
            .negative
            .as_ref()
            .filter(|negative| sign == Sign::Minus || (plus_for_minus && has_minus(negative)));
        let affixes = own.unwrap_or(&pattern.positive);
        let mut prefix = affixes.prefix.clone();
        if own.is_none() {
            match sign {
                Sign::Minus | Sign::About => prefix.insert(0, Token::Minus),
                Sign::Plus => prefix.insert(0, Token::Plus),
                Sign::None => {}
            }
        }
        let is_compact = self.notation == Notation::Compact;
        let mut parts = Parts::default();
        self.write_affix(&mut parts, &prefix, sign, is_compact);
        if prefix.last() == Some(&Token::Currency)
            && starts_with_digit(&body)
            && self.currency.chars().last().is_some_and(needs_space)
        {
            parts.push("literal", self.spacing("afterCurrency"));
        }
        let ends_with_digit = body.0.last().is_some_and(|part| matches!(part.kind, "integer" | "fraction"));
        parts.extend(body);
        if affixes.suffix.first() == Some(&Token::Currency)
            && ends_with_digit
            && self.currency.chars().next().is_some_and(needs_space)
        {
            parts.push("literal", self.spacing("beforeCurrency"));
        }
        self.write_affix(&mut parts, &affixes.suffix, sign, is_compact);
        parts
    }

    fn spacing(&self, place: &str) -> &'static str {
        self.say(&format!(
            "n/currencyFormats-numberSystem-{}/currencySpacing/{place}/insertBetween",
            self.symbols.data
        ))
        .unwrap_or("\u{a0}")
    }

    fn write_affix(&self, parts: &mut Parts, tokens: &[Token], sign: Sign, is_compact: bool) {
        let mut text = String::new();
        let flush = |parts: &mut Parts, text: &mut String| {
            if is_compact {
                parts.push_trimmed("compact", text)
            } else {
                parts.push("literal", text.as_str())
            }
            text.clear();
        };
        for token in tokens {
            if let Token::Text(character) = token {
                text.push(*character);
                continue;
            }
            flush(parts, &mut text);
            match token {
                // Marks of direction beside them are literals.
                Token::Minus if sign == Sign::About => {
                    parts.push_trimmed("approximatelySign", self.symbols.approximately);
                }
                Token::Minus if sign == Sign::Plus => parts.push_trimmed("plusSign", self.symbols.plus),
                Token::Minus => parts.push_trimmed("minusSign", self.symbols.minus),
                Token::Plus => parts.push_trimmed("plusSign", self.symbols.plus),
                Token::Percent => {
                    let kind = if self.style == Style::Percent { "percentSign" } else { "unit" };
                    parts.push_trimmed(kind, self.symbols.percent);
                }
                Token::Currency => parts.push("currency", self.currency.as_str()),
                Token::Text(_) => {}
            }
        }
        flush(parts, &mut text);
    }

    /// Puts a unit or a currency's name around a number.
    fn with_unit(&self, number: Parts, plural: &str) -> Parts {
        let placed = |pattern: &str, kind: &'static str, number: &Parts| {
            fill_as(pattern, kind, &mut |parts, _| parts.extend(number.clone()))
        };
        match &self.style {
            Style::Currency { code, display, .. } if display == "name" => {
                let key = format!("n/currencyFormats-numberSystem-{}/unitPattern-count-", self.symbols.data);
                let pattern = self
                    .say(&format!("{key}{plural}"))
                    .or_else(|| self.say(&format!("{key}other")))
                    .unwrap_or("{0} {1}");
                let name = self
                    .say(&format!("c/{code}/displayName-count-{plural}"))
                    .or_else(|| self.say(&format!("c/{code}/displayName-count-other")))
                    .or_else(|| self.say(&format!("c/{code}/displayName")))
                    .map_or_else(|| code.clone(), str::to_owned);
                fill(pattern, |parts, place| {
                    if place == 0 {
                        parts.extend(number.clone())
                    } else {
                        parts.push("currency", name.as_str())
                    }
                })
            }
            Style::Unit { unit, display } if !self.has_percent_sign() => {
                let of = |unit: &str| {
                    let key = format!("u/{display}/{unit}/unitPattern-count-");
                    self.say(&format!("{key}{plural}")).or_else(|| self.say(&format!("{key}other")))
                };
                if let Some(pattern) = of(unit) {
                    return placed(pattern, "unit", &number);
                }
                let Some((one, other)) = unit.split_once("-per-") else { return number };
                let first = of(one).unwrap_or("{0}");
                if let Some(per) = self.say(&format!("u/{display}/{other}/perUnitPattern")) {
                    return placed(&per.replace("{0}", first), "unit", &number);
                }
                let per = self.say(&format!("u/{display}/per/compoundUnitPattern")).unwrap_or("{0}/{1}");
                let key = format!("u/{display}/{other}/unitPattern-count-one");
                let second = self
                    .say(&key)
                    .or_else(|| self.say(&format!("u/{display}/{other}/unitPattern-count-other")))
                    .unwrap_or("{0}")
                    .replace("{0}", "");
                placed(&per.replace("{0}", first).replace("{1}", second.trim()), "unit", &number)
            }
            _ => number,
        }
    }

    pub fn format_range(&self, start: &Number, end: &Number) -> Result<Parts> {
        if matches!(start, Number::NaN) || matches!(end, Number::NaN) {
            return Err(Error::range("Invalid argument to Intl.NumberFormat.prototype.formatRange: NaN"));
        }
        let (first, last) = (self.body(start), self.body(end));
        let (first_text, last_text) = (self.format(start), self.format(end));
        if first_text == last_text {
            let sign = if first.sign == Sign::None { Sign::About } else { first.sign };
            let mut parts = Parts::default();
            if sign != Sign::About {
                parts.push_trimmed("approximatelySign", self.symbols.approximately);
            }
            parts.extend(self.with_unit(self.affix(first.digits, sign, &first.pattern), first.plural));
            return Ok(parts.with_source("shared"));
        }
        let pattern = self
            .say(&format!("n/miscPatterns-numberSystem-{}/range", self.symbols.data))
            .unwrap_or("{0}–{1}");
        let has_name = match &self.style {
            Style::Unit { .. } => !self.has_percent_sign(),
            Style::Currency { display, .. } => display == "name",
            _ => false,
        };
        if has_name {
            // One unit for both, in the form that the range asks for.
            let plural = self.plurals.range((&first.texts.0, &first.texts.1), (&last.texts.0, &last.texts.1));
            let ends = [&first, &last].map(|end| self.affix(end.digits.clone(), end.sign, &end.pattern));
            let spaced = !first.is_bare();
            let [start, end] = ends;
            let mut parts = self.with_unit(fill_range(pattern, start, end, spaced), plural);
            parts.0.iter_mut().for_each(|part| part.source = part.source.or(Some("shared")));
            return Ok(parts);
        }
        let strip = |parts: &Parts, body: &Parts| -> Option<(Vec<Part>, Vec<Part>)> {
            let at = parts.0.windows(body.0.len().max(1)).position(|window| window == body.0.as_slice())?;
            Some((parts.0[..at].to_vec(), parts.0[at + body.0.len()..].to_vec()))
        };
        // What stands around both ends alike is written once, if it is more than one character.
        let around = strip(&first_text, &first.digits);
        let length: usize = around
            .iter()
            .flat_map(|(before, after)| before.iter().chain(after))
            .map(|part| part.value.chars().count())
            .sum();
        // The space that is put between a symbol and a digit does not count.
        let Affixes { prefix, suffix } = &first.pattern.positive;
        let is_put = |token: Option<&Token>, part: Option<&Part>| {
            token == Some(&Token::Currency) && part.is_some_and(|part| part.kind == "literal")
        };
        let spaces = around.iter().map(|(before, after)| {
            usize::from(is_put(prefix.last(), before.last()))
                + usize::from(is_put(suffix.first(), after.first()))
        });
        let length = length - spaces.sum::<usize>();
        let is_alike =
            first.sign == last.sign && around.is_some() && around == strip(&last_text, &last.digits);
        if let (true, Some((before, after))) = (is_alike && length != 1, around) {
            let spaced = !first.is_bare();
            let mut parts = Parts::default();
            parts.extend(Parts(before).with_source("shared"));
            parts.extend(fill_range(pattern, first.digits, last.digits, spaced));
            parts.extend(Parts(after).with_source("shared"));
            return Ok(parts);
        }
        Ok(fill_range(pattern, first_text, last_text, length > 0))
    }

    pub fn resolved(&self) -> Value {
        let mut resolved = json!({ "locale": self.shown, "numberingSystem": self.symbols.system });
        match &self.style {
            Style::Decimal => resolved["style"] = json!("decimal"),
            Style::Percent => resolved["style"] = json!("percent"),
            Style::Currency { code, display, sign } => {
                resolved["style"] = json!("currency");
                resolved["currency"] = json!(code);
                resolved["currencyDisplay"] = json!(display);
                resolved["currencySign"] = json!(sign);
            }
            Style::Unit { unit, display } => {
                resolved["style"] = json!("unit");
                resolved["unit"] = json!(unit);
                resolved["unitDisplay"] = json!(display);
            }
        }
        self.digits.describe(&mut resolved, |_| {});
        resolved["useGrouping"] = match self.grouping {
            Grouping::Auto => json!("auto"),
            Grouping::Always => json!("always"),
            Grouping::Min2 => json!("min2"),
            Grouping::Off => json!(false),
        };
        resolved["notation"] = json!(match self.notation {
            Notation::Standard => "standard",
            Notation::Scientific => "scientific",
            Notation::Engineering => "engineering",
            Notation::Compact => "compact",
        });
        if self.notation == Notation::Compact {
            resolved["compactDisplay"] = json!(if self.compact_long { "long" } else { "short" });
        }
        resolved["signDisplay"] = json!(self.sign_display);
        resolved
    }
}

/// A number before anything is put around it.
struct Body {
    digits: Parts,
    sign: Sign,
    /// Whose affixes are put around the digits.
    pattern: Pattern,
    plural: &'static str,
    /// What is shown before and after the point.
    texts: (String, String),
}

impl Body {
    fn is_bare(&self) -> bool {
        !self.digits.0.iter().any(|part| part.kind == "exponentInteger")
    }
}

fn fill_range(pattern: &str, start: Parts, end: Parts, spaced: bool) -> Parts {
    let mut ends = [Some(start), Some(end)];
    let mut parts = Parts::default();
    let filled = fill(pattern, |parts, place| {
        if let Some(end) = ends.get_mut(place).and_then(Option::take) {
            parts.0.extend(end.with_source(if place == 0 { "startRange" } else { "endRange" }).0);
        }
    });
    for mut part in filled.0 {
        if part.source.is_none() {
            part.source = Some("shared");
            if spaced && !part.value.starts_with(char::is_whitespace) {
                part.value = format!(" {} ", part.value);
            }
        }
        parts.0.push(part);
    }
    parts
}

fn starts_with_digit(parts: &Parts) -> bool {
    parts.0.first().is_some_and(|part| part.kind == "integer")
}

/// Whether a currency's character is kept apart from digits: it is neither a symbol nor a space.
fn needs_space(character: char) -> bool {
    !character.is_whitespace()
        && !matches!(character,
            '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' | '¢'..='©' | '¬' | '®'..='±' | '´' | '¸' | '×' | '÷'
            | '\u{58f}' | '\u{60b}' | '\u{9f2}' | '\u{9f3}' | '\u{9fb}' | '\u{af1}' | '\u{bf9}' | '\u{e3f}' | '\u{17db}'
            | '\u{20a0}'..='\u{20cf}' | '\u{a838}' | '\u{fdfc}' | '\u{fe69}' | '\u{ff04}' | '\u{ffe0}'..='\u{ffe6}')
}
