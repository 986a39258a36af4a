//! The lines of Rust that ship: those of crates and services, without tests and comments.
//!
//! Lines are looked at, not syntax. It relies on rustfmt, which puts the end of an item under its beginning.

use std::collections::BTreeSet;

use super::files::Files;

/// Where the crates of the product stand.
const FOLDERS: [&str; 3] = ["crates/", "services/", "proto/"];

/// Folders of a crate that are for tests and tools.
const TEST_FOLDERS: [&str; 3] = ["/tests/", "/examples/", "/benches/"];

/// What begins an item that is compiled for tests only.
const TEST_ATTRIBUTES: [&str; 2] = ["#[cfg(test)]", "#[cfg(all(test"];

/// Per file its lines with their numbers.
pub fn of_product(files: &Files) -> Vec<(&str, Vec<(usize, &str)>)> {
    let sources: Vec<(&str, &str)> = files
        .texts()
        .filter(|(path, _)| FOLDERS.iter().any(|folder| path.starts_with(folder)) && path.ends_with(".rs"))
        .filter(|(path, _)| !TEST_FOLDERS.iter().any(|folder| path.contains(folder)))
        .collect();
    let of_tests: BTreeSet<String> =
        sources.iter().flat_map(|(path, text)| modules_for_tests(path, text)).collect();
    let is_for_tests = |path: &str| {
        of_tests
            .iter()
            .any(|module| path.strip_prefix(module).is_some_and(|rest| rest.starts_with(['.', '/'])))
    };
    sources
        .into_iter()
        .filter(|(path, _)| !is_for_tests(path))
        .map(|(path, text)| (path, lines(text)))
        .collect()
}

/// The modules that a file declares for its tests only: their paths, without extension.
fn modules_for_tests(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        _ => stem,
    };
    let mut modules = Vec::new();
    let mut is_for_tests = false;
    for line in text.lines().map(str::trim) {
        if TEST_ATTRIBUTES.iter().any(|attribute| line.starts_with(attribute)) {
            is_for_tests = true;
        } else if !line.starts_with("#[") {
            let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
            if let Some(name) = declared.and_then(|rest| rest.strip_suffix(';')).filter(|_| is_for_tests) {
                modules.push(format!("{folder}/{name}"));
            }
            is_for_tests = false;
        }
    }
    modules
}

/// The lines that are neither in an item for tests nor a comment; of what ends in a comment, the part before it.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut rest = (1..).zip(text.lines());
    while let Some((number, line)) = rest.next() {
        if TEST_ATTRIBUTES.iter().any(|attribute| line.trim_start().starts_with(attribute)) {
            skip_item(&mut rest, indent(line));
            continue;
        }
        let code = before_comment(line);
        if !code.trim().is_empty() {
            kept.push((number, code));
        }
    }
    kept
}

/// Goes behind the item whose attribute has this indent.
fn skip_item<'t>(rest: &mut impl Iterator<Item = (usize, &'t str)>, depth: usize) {
    // Its head may take several lines, up to the one that opens its body or ends it.
    for (_, line) in rest.by_ref() {
        let code = before_comment(line).trim_end();
        if line.trim_start().starts_with("#[") || code.is_empty() {
            continue;
        }
        if code.ends_with(['{', '(', '[']) {
            break;
        }
        if code.ends_with([';', '}', ',']) {
            return;
        }
    }
    for (_, line) in rest.by_ref() {
        let code = line.trim_start();
        let closes = code.starts_with(['}', ')', ']']) && indent(line) == depth;
        if closes && !code.ends_with(['{', '(', '[']) {
            return;
        }
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A comment begins the line or stands behind a space; `https://` is none.
fn before_comment(line: &str) -> &str {
    let mut places = line.match_indices("//").map(|(at, _)| at);
    places.find(|at| *at == 0 || line[..*at].ends_with(' ')).map_or(line, |at| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_for_tests_and_comments_are_left_out() {
        let text = "\
//! SystemTime
fn one() {} // SystemTime
#[cfg(test)]
pub fn for_tests(
    a: u32,
) -> u32 {
    SystemTime
}
const URL: &str = \"https://example.com\";
#[cfg(test)]
mod declared;
struct Two {
    #[cfg(test)]
    field: SystemTime,
    other: u32,
}
#[cfg(test)]
mod tests {
    fn three() {
        SystemTime
    }
}
fn four() {}
";
        let kept: Vec<&str> = lines(text).into_iter().map(|(_, line)| line.trim()).collect();
        assert_eq!(
            kept,
            [
                "fn one() {}",
                "const URL: &str = \"https://example.com\";",
                "struct Two {",
                "other: u32,",
                "}",
                "fn four() {}"
            ]
        );
        assert_eq!(lines(text).last(), Some(&(23, "fn four() {}")));
    }

    #[test]
    fn files_of_tests_are_left_out() {
        let files = Files::of(&[
            ("crates/a/src/lib.rs", "mod kept;\n#[cfg(test)]\nmod simulation;\n"),
            ("crates/a/src/kept.rs", "#[cfg(test)]\nmod inner;\nfn kept() {}\n"),
            ("crates/a/src/kept/inner.rs", "fn left_out() {}\n"),
            ("crates/a/src/simulation.rs", "fn left_out() {}\n"),
            ("crates/a/src/simulation/world.rs", "fn left_out() {}\n"),
            ("crates/a/src/simulations.rs", "fn kept() {}\n"),
            ("crates/a/tests/whole.rs", "fn left_out() {}\n"),
            ("xtask/src/main.rs", "fn left_out() {}\n"),
        ]);
        let paths: Vec<&str> = of_product(&files).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["crates/a/src/kept.rs", "crates/a/src/lib.rs", "crates/a/src/simulations.rs"]);
    }
}
