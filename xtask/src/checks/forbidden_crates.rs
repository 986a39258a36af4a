//! Crates that must not get in by the features of some dependency.

use std::path::Path;

use anyhow::Result;

use super::output_of;

/// A second provider of cryptography beside the chosen one makes TLS fail when it is first used.
const FORBIDDEN: [&str; 1] = ["aws-lc-sys"];

/// Asks for the tree that is built, not the lock file: the lock file also holds what no feature turns on.
pub fn problems(root: &Path) -> Result<Vec<String>> {
    let tree = output_of(root, "cargo", &["tree", "--workspace", "--prefix", "none", "--format", "{p}"])?;
    Ok(problems_of(&tree))
}

fn problems_of(tree: &str) -> Vec<String> {
    let built = |name: &str| tree.lines().any(|line| line.split_whitespace().next() == Some(name));
    FORBIDDEN
        .iter()
        .filter(|name| built(name))
        .map(|name| format!("{name} is in the dependency tree: see `cargo tree -i {name}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_crate_is_found_by_its_whole_name() {
        assert_eq!(problems_of("ring v0.17.14\naws-lc-sys v0.30.0 (*)\n").len(), 1);
        assert_eq!(problems_of("aws-lc-sys-like v1.0.0\n"), Vec::<String>::new());
    }
}
