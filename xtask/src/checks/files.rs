//! The repository's files, read once for all checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::output_of;

/// All files but those that git ignores. Paths are relative to the root, with slashes.
pub struct Files {
    /// The texts; a binary file has none.
    texts: BTreeMap<String, String>,
    /// Every file and every folder that holds one.
    paths: BTreeSet<String>,
}

impl Files {
    pub fn read(root: &Path) -> Result<Files> {
        let listed =
            output_of(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut files = Files { texts: BTreeMap::new(), paths: BTreeSet::new() };
        for path in listed.split_terminator('\0') {
            // One that was deleted is listed until that is committed.
            if !root.join(path).exists() {
                continue;
            }
            files.add_path(path);
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                files.texts.insert(path.to_string(), text);
            }
        }
        Ok(files)
    }

    /// The files that are texts, by their paths.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file or folder.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path.trim_end_matches('/'))
    }

    fn add_path(&mut self, path: &str) {
        self.paths.insert(path.to_string());
        let folders = path.match_indices('/').map(|(at, _)| path[..at].to_string());
        self.paths.extend(folders);
    }
}

#[cfg(test)]
impl Files {
    /// Files that are not on a disk.
    pub fn of(texts: &[(&str, &str)]) -> Files {
        let mut files = Files { texts: BTreeMap::new(), paths: BTreeSet::new() };
        for (path, text) in texts {
            files.add_path(path);
            files.texts.insert(path.to_string(), text.to_string());
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_file_is_there_as_well() {
        let files = Files::of(&[("docs/how-to/a.md", "")]);
        assert!(files.has("docs/how-to") && files.has("docs/") && files.has("docs/how-to/a.md"));
        assert!(!files.has("docs/how-to/b.md") && !files.has("doc"));
    }
}
