//! How long a caller waits, by the header `grpc-timeout`.

use std::time::Duration;

use axum::http::HeaderMap;

use super::failure::{Failure, Result};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The time that the caller gives; `None` if it waits for as long as it takes.
pub(super) fn time_of(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(header) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    match header.to_str().ok().and_then(parse) {
        Some(time) => Ok(Some(time)),
        None => Err(Failure::bad_request(
            "InvalidDeadline",
            "The header grpc-timeout must be a number of at most eight digits and a unit: H, M, S, m, u or n.",
        )),
    }
}

fn parse(text: &str) -> Option<Duration> {
    const DIGITS_MAX: usize = 8;
    let unit = text.len().checked_sub(1).filter(|digits| (1..=DIGITS_MAX).contains(digits))?;
    let (digits, unit) = text.split_at_checked(unit)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, time) in [
            ("2H", Duration::from_secs(7_200)),
            ("3M", Duration::from_secs(180)),
            ("10S", Duration::from_secs(10)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
            ("0S", Duration::ZERO),
        ] {
            assert_eq!(parse(text), Some(time), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "S", "1", "123456789S", "+1S", "-1S", "1.5S", "1s", "1 S", "1SS", "é", "1é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
