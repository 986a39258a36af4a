//! Until when a certificate holds: the one field of it that the verifying libraries check and don't tell.
//!
//! A certificate is nested elements of tag, length and content (DER, X.690); what is passed over on the way there is as in RFC 5280, 4.1.

use std::time::{Duration, SystemTime};

use chrono::NaiveDate;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the certificate (DER) expires; `None` if it can't be read.
pub fn expires_at(certificate: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // The serial number, the signature's algorithm, the issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = element(fields, tag)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, not_after) = time(validity)?;
    let (expires, _) = time(not_after)?;
    Some(expires)
}

/// The content of the element at the beginning, if it has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, short], rest) = bytes.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        // So many bytes of the length follow.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// The moment at the beginning, and what follows it.
fn time(bytes: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (text, rest, year_digits) = match element(bytes, UTC_TIME) {
        Some((text, rest)) => (text, rest, 2),
        None => {
            let (text, rest) = element(bytes, GENERALIZED_TIME)?;
            (text, rest, 4)
        }
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != year_digits + 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest_of_date) = text.split_at(year_digits);
    let number = |at: usize| rest_of_date[at..at + 2].parse::<u32>().ok();
    let year: i32 = match year.parse().ok()? {
        year @ 50..100 if year_digits == 2 => 1900 + year,
        year if year_digits == 2 => 2000 + year,
        year => year,
    };
    let moment = NaiveDate::from_ymd_opt(year, number(0)?, number(2)?)?
        .and_hms_opt(number(4)?, number(6)?, number(8)?)?
        .and_utc()
        .timestamp();
    // Long past is as good as the beginning of time.
    let since = Duration::from_secs(u64::try_from(moment).unwrap_or(0));
    Some((SystemTime::UNIX_EPOCH.checked_add(since)?, rest))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(year: i32) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.not_before = date_time_ymd(1990, 2, 3);
        parameters.not_after = date_time_ymd(year, 2, 3);
        let key = KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms() {
        for (year, seconds) in
            [(2026, 1_770_076_800), (2049, 2_495_923_200), (2050, 2_527_459_200), (2100, 4_105_296_000)]
        {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(expires_at(&made(year)), Some(expected), "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = made(2030);
        for length in 0..whole.len().min(200) {
            let _ = expires_at(&whole[..length]);
        }
        assert_eq!(expires_at(b""), None);
        assert_eq!(expires_at(&whole[..60]), None);
        assert_eq!(expires_at(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
