//! What people may call things.

use contract::{Error, Result};

/// So long is the label of a host name, less what a preview's number needs.
const NAME_CHARS_MAX: usize = 40;
/// What people call a key, and tools a preview.
const TEXT_BYTES_MAX: usize = 256;
/// What of an identifier is in a name.
const SLUG_CHARS_MAX: usize = 16;

/// `[a-z0-9-]{1,40}`, and no dash at either end: it is a part of host names.
pub(crate) fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(crate) fn check_deployment(name: &str) -> Result<()> {
    check(is_name(name), "InvalidDeploymentName", "The name of a deployment")
}

pub(crate) fn check_project(name: &str) -> Result<()> {
    check(is_name(name), "InvalidProjectName", "The name of a project")
}

fn check(is_right: bool, code: &'static str, what: &str) -> Result<()> {
    if is_right {
        return Ok(());
    }
    Err(Error::bad_request(
        code,
        format!(
            "{what} has 1 to {NAME_CHARS_MAX} lower-case letters, digits and dashes, and no dash at its ends."
        ),
    ))
}

pub(crate) fn check_key(name: &str) -> Result<()> {
    check_text(name, "InvalidKeyName", "The name of a key")
}

pub(crate) fn check_preview(identifier: &str) -> Result<()> {
    check_text(identifier, "InvalidPreviewName", "The name of a preview")
}

fn check_text(text: &str, code: &'static str, what: &str) -> Result<()> {
    if (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::bad_request(
        code,
        format!("{what} has 1 to {TEXT_BYTES_MAX} bytes, none of them a control character."),
    ))
}

/// A name made of what a deployment is of, in what a name may have, and its number, by which no other has it.
pub(crate) fn numbered(project: &str, identifier: &str, number: u32) -> String {
    let lowered = identifier.to_lowercase();
    let words = lowered.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let slug: String = words.join("-").chars().take(SLUG_CHARS_MAX).collect();
    let number = number.to_string();
    let project_chars = NAME_CHARS_MAX - SLUG_CHARS_MAX - number.len() - 2;
    let project: String = project.chars().take(project_chars).collect();
    let parts = [project.trim_matches('-'), slug.trim_matches('-'), &number];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_of_host_names() {
        for name in ["a", "dev", "shop-2", &"a".repeat(40)] {
            assert!(check_deployment(name).is_ok() && check_project(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "a b", "é", "a/b", "a|b", "a:b", &"a".repeat(41)] {
            let error = check_deployment(name).expect_err(name);
            assert_eq!(error.code, "InvalidDeploymentName");
        }
    }

    #[test]
    fn keys_and_previews_are_called_what_people_like_within_bounds() {
        for name in ["ci", "feature/new-thing", "Größe", &"x".repeat(256)] {
            assert!(check_key(name).is_ok() && check_preview(name).is_ok(), "{name}");
        }
        for name in ["", "a\nb", "a\0", &"x".repeat(257)] {
            assert_eq!(check_key(name).expect_err(name).code, "InvalidKeyName");
            assert_eq!(check_preview(name).expect_err(name).code, "InvalidPreviewName");
        }
    }

    #[test]
    fn a_name_with_a_number_is_legal_whatever_it_is_of() {
        assert_eq!(numbered("shop", "Feature/New thing", 7), "shop-feature-new-thin-7");
        assert_eq!(numbered("shop", "///", 7), "shop-7");
        for project in ["a", &"p".repeat(40), &format!("{}-b", "p".repeat(20))] {
            for identifier in ["x", "---", "é", &"long-".repeat(40), "0123456789abcde-f"] {
                let name = numbered(project, identifier, u32::MAX);
                assert!(is_name(&name), "{name}");
            }
        }
    }
}
