//! Numbers that are plainly floats.

/// Appends the same JSON with a fraction in every number that has neither fraction nor exponent: `1` becomes `1.0`. Some
/// languages make integers of the others, and clients of theirs take those for wrong. `json` must be legal JSON.
pub fn push_with_fractions(text: &mut String, json: &str) {
    let bytes = json.as_bytes();
    let (mut copied, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                at += 1 + digits;
                if !matches!(bytes.get(at), Some(b'.' | b'e' | b'E')) {
                    text.push_str(&json[copied..at]);
                    text.push_str(".0");
                    copied = at;
                    continue;
                }
                let is_of_number =
                    |byte: &&u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                at += bytes[at..].iter().take_while(is_of_number).count();
            }
            _ => at += 1,
        }
    }
    text.push_str(&json[copied..]);
}

/// Behind the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_get_a_fraction_and_nothing_else_changes() {
        for (json, expected) in [
            ("1", "1.0"),
            ("-12", "-12.0"),
            ("0", "0.0"),
            ("1.5", "1.5"),
            ("1e21", "1e21"),
            ("1.5e-7", "1.5e-7"),
            ("[1,2.5,-3]", "[1.0,2.5,-3.0]"),
            (r#"{"1":2,"a":[3]}"#, r#"{"1":2.0,"a":[3.0]}"#),
            (r#""1""#, r#""1""#),
            (r#"["\"1","\\",2]"#, r#"["\"1","\\",2.0]"#),
            (r#"{"é1":"漢2","n":3}"#, r#"{"é1":"漢2","n":3.0}"#),
            (r#"{"$integer":"AQAAAAAAAAA="}"#, r#"{"$integer":"AQAAAAAAAAA="}"#),
            ("[true,false,null]", "[true,false,null]"),
        ] {
            let mut text = String::new();
            push_with_fractions(&mut text, json);
            assert_eq!(text, expected, "{json}");
        }
    }
}
