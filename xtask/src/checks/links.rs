//! What documents point to is there: links with their anchors, paths in backquotes, and documents that sources name.

use std::collections::BTreeMap;

use super::files::Files;

/// A text in backquotes that begins so is a path from the root.
const TOP_FOLDERS: [&str; 13] = [
    ".cargo/",
    ".ci/",
    "bench/",
    "crates/",
    "deploy/",
    "docs/",
    "examples/",
    "findings/",
    "helm/",
    "proto/",
    "services/",
    "tests/",
    "xtask/",
];

/// A path that holds one of these is a pattern for paths.
const PLACEHOLDERS: [&str; 2] = ["NAME", "NNNN"];

/// The tests of these checks name documents that are not there.
const CHECKS: &str = "xtask/src/checks/";

pub fn problems(files: &Files) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in files.texts() {
        if path.ends_with(".md") {
            for (number, line) in prose(text) {
                let links = link_targets(line).filter_map(|target| broken_link(files, path, target));
                let paths = quoted_paths(line).filter(|quoted| !files.has(quoted));
                let paths = paths.map(|quoted| format!("names {quoted}, which is not there"));
                problems.extend(links.chain(paths).map(|problem| format!("{path}:{number} {problem}")));
            }
        } else if !path.starts_with(CHECKS) {
            for (number, line) in (1..).zip(text.lines()) {
                let named = named_documents(line).filter(|document| !files.has(document));
                problems
                    .extend(named.map(|name| format!("{path}:{number} names {name}, which is not there")));
            }
        }
    }
    problems
}

/// The lines that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// `[text](target)`, and `[name]: target` at the beginning of a line.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let reference = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    inline.chain(reference).map(|target| target.split(' ').next().unwrap_or_default())
}

/// What is wrong with a link that stands in the document at `path`.
fn broken_link(files: &Files, path: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (target, None),
    };
    let file = if file.is_empty() { path.to_string() } else { resolve(path, file) };
    if !files.has(&file) {
        return Some(format!("links to {target}, which is not there"));
    }
    let anchor = anchor?;
    let text = files.text(&file).unwrap_or_default();
    let is_there = if file.ends_with(".md") {
        anchors(text).iter().any(|known| known == anchor)
    } else {
        let line = anchor.strip_prefix('L').and_then(|number| number.parse::<usize>().ok());
        line.is_some_and(|line| (1..=text.lines().count()).contains(&line))
    };
    (!is_there).then(|| format!("links to {target}, and {file} has no such place"))
}

/// The path from the root to what `target` means in the document at `path`.
fn resolve(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            // One that leaves the repository is found nowhere.
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    prose(text)
        .filter_map(|(_, line)| {
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))
        })
        .map(|heading| {
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            let anchor: String = kept.flat_map(char::to_lowercase).collect::<String>().replace(' ', "-");
            let before = seen.entry(anchor.clone()).or_default();
            *before += 1;
            if *before == 1 { anchor } else { format!("{anchor}-{}", *before - 1) }
        })
        .collect()
}

/// The texts in backquotes that are paths from the root.
fn quoted_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|quoted| {
        TOP_FOLDERS.iter().any(|folder| quoted.starts_with(folder))
            && quoted.chars().all(is_of_path)
            && !PLACEHOLDERS.iter().any(|placeholder| quoted.contains(placeholder))
    })
}

/// The documents that a line of a source names by their paths from the root.
fn named_documents(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("docs/").filter_map(|(at, _)| {
        // A longer path is relative to something else.
        let before = line[..at].chars().next_back();
        let rest = line[at..].split(|character: char| !is_of_path(character)).next()?;
        let name = rest.strip_suffix('.').unwrap_or(rest);
        let is_whole = !before.is_some_and(|character| is_of_path(character) || character == '}');
        (is_whole && name.ends_with(".md") && !PLACEHOLDERS.iter().any(|word| name.contains(word)))
            .then_some(name)
    })
}

fn is_of_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-/".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let files = Files::of(&[
            ("docs/how-to/limit.md", text),
            ("docs/reference/errors.md", "# Error codes\n## Load, and `unrest`\n## Twice\n## Twice\n"),
            ("crates/value/src/lib.rs", "one\ntwo\n"),
        ]);
        problems(&files)
    }

    #[test]
    fn what_is_there_may_be_linked_to() {
        let text = "\
# A limit
See [codes](../reference/errors.md), [load](../reference/errors.md#load-and-unrest), [twice](../reference/errors.md#twice-1),
[above](#a-limit), [the folder](../reference/), [a line](../../crates/value/src/lib.rs#L2), [outside](https://example.com/no.md),
`crates/value/src/lib.rs`, `crates/NAME/src/lib.rs`, `crates/*`.
```sh
cat [nothing](nowhere.md) `docs/nothing`
```
";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let text = "\
[one](errors.md) [two](../reference/errors.md#nothing) [three](#nowhere)
[four](../../crates/value/src/lib.rs#L3) [five](../../../errors.md) `crates/value/src/gone.rs`
[six]: ../gone.md
";
        assert_eq!(found(text).len(), 7, "{:?}", found(text));
    }

    #[test]
    fn a_source_that_names_a_document_which_is_not_there_is_found() {
        // In two halves, so that this file is not found by its own check.
        let text =
            concat!("//! See `docs/", "gone.md`, docs/", "here.md. In out/docs/", "other.md it is not.\n");
        let files = Files::of(&[("crates/a/src/lib.rs", text), ("docs/here.md", "")]);
        assert_eq!(problems(&files), ["crates/a/src/lib.rs:1 names docs/gone.md, which is not there"]);
    }
}
