//! Which modules a bundled module imports.

use std::collections::BTreeSet;

/// The paths among `known` that `source` may import.
///
/// Bundles import each other by relative string literals. Every literal that resolves to a known module is taken, also
/// where it is not an import: naming too many costs a run that was not needed, naming too few would serve old code.
pub fn of<'k>(path: &str, source: &str, known: impl Fn(&str) -> Option<&'k str>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for quote in ['"', '\''] {
        let mut rest = source;
        while let Some(at) = rest.find(quote) {
            rest = &rest[at + 1..];
            if !rest.starts_with('.') {
                continue;
            }
            let Some(end) = rest.find(quote) else { break };
            if let Some(module) = resolve(path, &rest[..end]).as_deref().and_then(&known) {
                found.insert(module.to_owned());
            }
        }
    }
    found.into_iter().collect()
}

/// A relative specifier as a path from the root; `None` if it leaves it.
fn resolve(importer: &str, specifier: &str) -> Option<String> {
    let mut parts: Vec<&str> = importer.split('/').collect();
    parts.pop();
    for part in specifier.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_imports_are_resolved_against_the_importer() {
        let source =
            r#"import { a } from "../_deps/A.js"; import './b.js'; const s = "./no.js"; "unterminated"#;
        let known = ["_deps/A.js", "sub/b.js", "b.js"];
        let lookup = |path: &str| known.iter().copied().find(|module| *module == path);
        assert_eq!(of("sub/dir.js", source, lookup), ["_deps/A.js", "sub/b.js"]);
    }

    #[test]
    fn what_leaves_the_root_is_nothing() {
        assert_eq!(resolve("a.js", "../b.js"), None);
    }
}
