//! Names that are made from contents.

use contract::BlobDigest;
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Sha256Digest = [u8; 32];

/// The hash by which the command line tool knows a module: over its source, then its source map if there is one.
pub fn module_hash(source: &str, source_map: Option<&str>) -> Sha256Digest {
    let mut hash = Sha256::new();
    hash.update(source);
    hash.update(source_map.unwrap_or_default());
    hash.finalize().into()
}

/// Names environment variables with their values, in the order of their names; hexadecimal.
pub fn environment_hash<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let mut hash = Fields::new();
    for (name, value) in variables {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    hex::encode(hash.finish())
}

/// Names everything that a push can change of the code: all that an image is made of, and the source maps;
/// hexadecimal. `modules` are paths with [`module_hash`], in the order of the paths.
pub fn code_hash<'a>(
    modules: impl IntoIterator<Item = (&'a str, &'a Sha256Digest)>,
    import_seed: u64,
    import_time_ms: u64,
    environment_hash: &str,
) -> String {
    let mut hash = Fields::new();
    for (path, digest) in modules {
        hash.add(path.as_bytes());
        hash.add(digest);
    }
    hash.add(&import_seed.to_le_bytes());
    hash.add(&import_time_ms.to_le_bytes());
    hash.add(environment_hash.as_bytes());
    hex::encode(hash.finish())
}

/// A hash over fields. Each is preceded by its length, so that no two lists of fields look alike.
pub(crate) struct Fields(Sha256);

impl Fields {
    pub(crate) fn new() -> Fields {
        Fields(Sha256::new())
    }

    pub(crate) fn add(&mut self, field: &[u8]) {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    pub(crate) fn add_digest(&mut self, digest: &BlobDigest) {
        self.add(&digest.0);
    }

    pub(crate) fn finish(self) -> Sha256Digest {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn variables_that_look_alike_when_written_together_are_told_apart() {
        let hash = |pairs: &[(&str, &str)]| {
            let variables: BTreeMap<String, String> =
                pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            environment_hash(&variables)
        };
        let all = [
            hash(&[]),
            hash(&[("A", "1")]),
            hash(&[("A", "")]),
            hash(&[("A1", "")]),
            hash(&[("A", "1B2")]),
            hash(&[("A", "1"), ("B", "2")]),
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(!all[..position].contains(one), "{position}");
        }
    }

    #[test]
    fn everything_that_a_push_can_change_is_in_the_hash_of_the_code() {
        let modules = |paths: &[&'static str], byte: u8| -> Vec<(&'static str, Sha256Digest)> {
            paths.iter().map(|path| (*path, [byte; 32])).collect()
        };
        let hash = |modules: &[(&'static str, Sha256Digest)], seed, time, environment| {
            code_hash(modules.iter().map(|(path, digest)| (*path, digest)), seed, time, environment)
        };
        let one = modules(&["a.js"], 1);
        let all = [
            hash(&one, 1, 2, "e"),
            hash(&modules(&["a.js"], 2), 1, 2, "e"),
            hash(&modules(&["b.js"], 1), 1, 2, "e"),
            hash(&modules(&["a.js", "b.js"], 1), 1, 2, "e"),
            hash(&one, 2, 2, "e"),
            hash(&one, 1, 3, "e"),
            hash(&one, 1, 2, "f"),
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(!all[..position].contains(one), "{position}");
        }
        assert_eq!(all[0], hash(&one, 1, 2, "e"));
    }
}
