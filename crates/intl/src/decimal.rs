//! Decimal numbers of any length, as JavaScript's numbers and BigInts become when they are formatted.

use std::cmp::Ordering;

use crate::error::{Error, Result};

/// `0.d1 d2 d3… × 10^exponent`. Zero has no digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    pub negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    NaN,
    Infinity { negative: bool },
    Finite(Decimal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundingMode {
    Ceil,
    Floor,
    Expand,
    Trunc,
    HalfCeil,
    HalfFloor,
    HalfExpand,
    HalfTrunc,
    HalfEven,
}

impl RoundingMode {
    pub fn of(name: &str) -> Option<RoundingMode> {
        Some(match name {
            "ceil" => RoundingMode::Ceil,
            "floor" => RoundingMode::Floor,
            "expand" => RoundingMode::Expand,
            "trunc" => RoundingMode::Trunc,
            "halfCeil" => RoundingMode::HalfCeil,
            "halfFloor" => RoundingMode::HalfFloor,
            "halfExpand" => RoundingMode::HalfExpand,
            "halfTrunc" => RoundingMode::HalfTrunc,
            "halfEven" => RoundingMode::HalfEven,
            _ => return None,
        })
    }

    /// Whether what is left over moves the digits before it up. `half` compares it with a half; it is not zero.
    fn goes_up(self, negative: bool, odd: bool, half: Ordering) -> bool {
        match self {
            RoundingMode::Ceil => !negative,
            RoundingMode::Floor => negative,
            RoundingMode::Expand => true,
            RoundingMode::Trunc => false,
            _ if half != Ordering::Equal => half == Ordering::Greater,
            RoundingMode::HalfCeil => !negative,
            RoundingMode::HalfFloor => negative,
            RoundingMode::HalfExpand => true,
            RoundingMode::HalfTrunc => false,
            RoundingMode::HalfEven => odd,
        }
    }
}

/// Numbers that are written out take at most as many digits.
const EXPONENT_MAX: i64 = 100_000;

impl Number {
    /// What JavaScript's `String` makes of a number or a BigInt, or a decimal literal.
    pub fn parse(text: &str) -> Result<Number> {
        let invalid = || Error::range(format!("Invalid number: {text:.60}"));
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        match rest {
            "NaN" => return Ok(Number::NaN),
            "Infinity" => return Ok(Number::Infinity { negative }),
            _ => {}
        }
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i64>().map_err(|_| invalid())?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if (whole.is_empty() && fraction.is_empty())
            || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
        {
            return Err(invalid());
        }
        if exponent.abs() > EXPONENT_MAX {
            return Err(invalid());
        }
        let digits = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
        let mut decimal = Decimal { negative, digits, exponent: whole.len() as i64 + exponent };
        decimal.trim();
        Ok(Number::Finite(decimal))
    }
}

impl Decimal {
    fn trim(&mut self) {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.exponent -= zeros as i64;
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.exponent = 0;
        }
    }

    pub fn absolute(&self) -> Decimal {
        Decimal { negative: false, ..self.clone() }
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The power of ten of the first digit; 0 of zero.
    pub fn magnitude(&self) -> i64 {
        if self.is_zero() { 0 } else { self.exponent - 1 }
    }

    pub fn shift(mut self, by: i64) -> Decimal {
        if !self.is_zero() {
            self.exponent += by;
        }
        self
    }

    /// The digit of a power of ten.
    pub fn digit(&self, power: i64) -> u8 {
        let place = self.exponent - 1 - power;
        usize::try_from(place).ok().and_then(|place| self.digits.get(place)).copied().unwrap_or(0)
    }

    /// The smallest power of ten with a digit other than zero; 0 of zero.
    pub fn lowest(&self) -> i64 {
        if self.is_zero() { 0 } else { self.exponent - self.digits.len() as i64 }
    }

    /// Rounded to a multiple of `increment × 10^power`.
    pub fn round(&self, power: i64, increment: u32, mode: RoundingMode) -> Decimal {
        if self.lowest() >= power && increment == 1 {
            return self.clone();
        }
        // The digits from `power` up, as they stand, and what is left.
        let kept =
            (self.exponent - power).clamp(0, self.digits.len() as i64 + (self.exponent - power).max(0));
        let kept = usize::try_from(kept).unwrap_or(0);
        let mut whole: Vec<u8> = self.digits.iter().copied().take(kept).collect();
        whole.resize(kept, 0);
        let mut left: Vec<u8> = Vec::new();
        if self.exponent < power {
            // All digits are below; zeros stand before them.
            left.resize(usize::try_from(power - self.exponent).unwrap_or(0).min(64), 0);
        }
        left.extend(self.digits.iter().skip(kept));
        // Divide the whole by the increment.
        let mut remainder: u64 = 0;
        let mut quotient = Vec::with_capacity(whole.len());
        for digit in &whole {
            let current = remainder * 10 + u64::from(*digit);
            quotient.push((current / u64::from(increment)) as u8);
            remainder = current % u64::from(increment);
        }
        let has_left = left.iter().any(|digit| *digit != 0);
        let mut result = quotient;
        if remainder != 0 || has_left {
            // Compare remainder + 0.left with increment / 2.
            let twice = remainder * 2;
            let half = match twice.cmp(&u64::from(increment)) {
                Ordering::Equal if has_left => Ordering::Greater,
                Ordering::Less if twice + 1 == u64::from(increment) => {
                    // The increment is odd: its half is remainder and a half.
                    match left.first().copied().unwrap_or(0).cmp(&5) {
                        Ordering::Equal if left.iter().skip(1).any(|digit| *digit != 0) => Ordering::Greater,
                        order => order,
                    }
                }
                order => order,
            };
            let odd = result.last().is_some_and(|digit| digit % 2 == 1);
            if mode.goes_up(self.negative, odd, half) {
                add_one(&mut result);
            }
        }
        let result = multiply(&result, increment);
        let mut rounded =
            Decimal { negative: self.negative, exponent: result.len() as i64 + power, digits: result };
        rounded.trim();
        rounded
    }

    /// Rounded to as many significant digits.
    pub fn round_significant(&self, count: u32, mode: RoundingMode) -> Decimal {
        self.round(self.magnitude() - i64::from(count) + 1, 1, mode)
    }

    /// Without sign: at least `integers` digits before the point, at least `fractions` behind it.
    pub fn to_text(&self, integers: usize, fractions: usize) -> (String, String) {
        let digit = |power: i64| char::from(b'0' + self.digit(power));
        let whole = usize::try_from(self.exponent.max(0)).unwrap_or(0).max(integers);
        let fraction = usize::try_from((-self.lowest()).max(0)).unwrap_or(0).max(fractions);
        (
            (0..whole as i64).rev().map(digit).collect(),
            (1..=fraction as i64).map(|place| digit(-place)).collect(),
        )
    }
}

fn add_one(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    digits.insert(0, 1);
}

fn multiply(digits: &[u8], by: u32) -> Vec<u8> {
    let mut carry: u64 = 0;
    let mut result: Vec<u8> = Vec::with_capacity(digits.len() + 4);
    for digit in digits.iter().rev() {
        let product = u64::from(*digit) * u64::from(by) + carry;
        result.push((product % 10) as u8);
        carry = product / 10;
    }
    while carry > 0 {
        result.push((carry % 10) as u8);
        carry /= 10;
    }
    result.reverse();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(text: &str) -> Decimal {
        match Number::parse(text) {
            Ok(Number::Finite(decimal)) => decimal,
            other => panic!("{other:?}"),
        }
    }

    fn rounded(text: &str, power: i64, increment: u32, mode: &str) -> String {
        let decimal = finite(text).round(power, increment, RoundingMode::of(mode).expect("a mode"));
        let (whole, fraction) = decimal.to_text(1, 0);
        format!(
            "{}{whole}{}{fraction}",
            if decimal.negative { "-" } else { "" },
            if fraction.is_empty() { "" } else { "." }
        )
    }

    #[test]
    fn numbers_are_read_as_javascript_writes_them() {
        assert_eq!(finite("1e21").to_text(1, 0).0, "1000000000000000000000");
        assert_eq!(finite("-1.5e-7").to_text(1, 0), ("0".into(), "00000015".into()));
        assert_eq!(Number::parse("-Infinity"), Ok(Number::Infinity { negative: true }));
        for wrong in ["", "-", ".", "1e", "0x10", "1_000", "1e99999999999"] {
            assert!(Number::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_mode_rounds_as_it_says() {
        for (mode, expected) in [
            ("ceil", ["2", "3", "-1", "-2"]),
            ("floor", ["1", "2", "-2", "-3"]),
            ("expand", ["2", "3", "-2", "-3"]),
            ("trunc", ["1", "2", "-1", "-2"]),
            ("halfCeil", ["2", "3", "-1", "-2"]),
            ("halfFloor", ["1", "2", "-2", "-3"]),
            ("halfExpand", ["2", "3", "-2", "-3"]),
            ("halfTrunc", ["1", "2", "-1", "-2"]),
            ("halfEven", ["2", "2", "-2", "-2"]),
        ] {
            let got = ["1.5", "2.5", "-1.5", "-2.5"].map(|text| rounded(text, 0, 1, mode));
            assert_eq!(got, expected, "{mode}");
        }
    }

    #[test]
    fn carries_increments_and_small_numbers() {
        assert_eq!(rounded("999.9996", -3, 1, "halfExpand"), "1000");
        assert_eq!(rounded("0.0004", -3, 1, "halfExpand"), "0");
        assert_eq!(rounded("0.0006", -3, 1, "halfExpand"), "0.001");
        assert_eq!(rounded("1e-300", -3, 1, "ceil"), "0.001");
        assert_eq!(rounded("1.13", -2, 5, "halfExpand"), "1.15");
        assert_eq!(rounded("1.12", -2, 5, "halfExpand"), "1.1");
        assert_eq!(rounded("1.125", -2, 5, "halfExpand"), "1.15");
        assert_eq!(rounded("1.1249", -2, 5, "halfExpand"), "1.1");
        assert_eq!(rounded("12345", 3, 1, "halfExpand"), "12000");
        assert_eq!(rounded("0.5", 0, 1, "halfEven"), "0");
    }
}
