//! `docs/reference/errors.md` lists the codes that the source uses, all of them and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Literals that look like codes and are none: names of messages, operations, classes and statuses; what the runner
/// tells itself.
const NO_CODES: &[&str] = &[
    "ActAsUser",
    "ConvexError",
    "DataError",
    "FullTableScan",
    "HttpAction",
    "HttpApi",
    "HttpEndpoint",
    "IndexRange",
    "InvalidAccessError",
    "KeptKey",
    "KeptTable",
    "NotSupportedError",
    "OperationError",
    "RangeError",
    "ReferenceError",
    "RunInternalMutations",
    "RunInternalQueries",
    "RunTestQuery",
    "SplitRecommended",
    "SplitRequired",
    "SyncWorker",
    "SyntaxError",
    "TurnWanted",
    "TypeError",
    "ViewData",
    "ViewEnvironmentVariables",
    "ViewLogs",
    "WriteEnvironmentVariables",
];
/// Codes that clients know, of a single word.
const CODES: &[&str] = &["Sha256Mismatch", "Unauthenticated"];
/// The protocol's own names, and patterns of dates.
const NO_CODES_IN: [&str; 2] = ["crates/sync-protocol", "crates/intl"];

#[test]
fn the_list_of_error_codes_is_complete_and_current() {
    // Asked when the test runs: builds can be shared by several clones.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&package).join("../..");
    let mut used: BTreeMap<String, PathBuf> = BTreeMap::new();
    for group in ["crates", "services"] {
        for file in rust_files(&root.join(group)) {
            if file
                .strip_prefix(&root)
                .is_ok_and(|file| NO_CODES_IN.iter().any(|folder| file.starts_with(folder)))
            {
                continue;
            }
            let text = fs::read_to_string(&file).expect("source is readable");
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for line in
                code.lines().filter(|line| !line.trim_start().starts_with("//") && !names_a_type(line))
            {
                let literals =
                    line.split('"').skip(1).step_by(2).flat_map(|literal| literal.split(": ").next());
                for literal in
                    literals.filter(|literal| looks_like_a_code(literal) && !NO_CODES.contains(literal))
                {
                    used.insert(literal.to_owned(), file.clone());
                }
            }
        }
    }
    let reference = fs::read_to_string(root.join("docs/reference/errors.md")).expect("the list is readable");
    let listed: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let missing: Vec<_> = used.iter().filter(|(code, _)| !listed.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "used and not listed in docs/reference/errors.md: {missing:#?}");
    let stale: Vec<_> = listed.iter().filter(|code| !used.contains_key(**code)).collect();
    assert!(stale.is_empty(), "listed in docs/reference/errors.md and not used: {stale:#?}");
}

/// At least two capitalised words written together, or one that is known.
fn looks_like_a_code(literal: &str) -> bool {
    if CODES.contains(&literal) {
        return true;
    }
    let capitals = literal.chars().filter(char::is_ascii_uppercase).count();
    let begins = literal.starts_with(|first: char| first.is_ascii_uppercase());
    begins
        && (2..literal.len()).contains(&capitals)
        && literal.len() > 5
        && literal.chars().all(|c| c.is_ascii_alphabetic())
}

/// The name of a type in its own `Debug`.
fn names_a_type(line: &str) -> bool {
    line.contains("write_str(") || line.contains("debug_struct(") || line.contains("debug_tuple(")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "tests" && name != "target" {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && name != "build.rs" && name != "tests.rs" {
            files.push(path);
        }
    }
    files
}
