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

/// Names everything that a push can change of the code: all that images are made of but their import phases, and the source
/// maps.
pub struct CodeHash(Fields);

impl CodeHash {
    /// Of code that sees these environment variables ([`environment_hash`]).
    pub fn new(environment_hash: &str) -> CodeHash {
        let mut fields = Fields::new();
        fields.add(environment_hash.as_bytes());
        CodeHash(fields)
    }

    /// Adds a component, the app itself among them, in the order of their paths. `settings` is what its parent says of it;
    /// `modules` are paths with [`module_hash`], in the order of the paths.
    pub fn add<'a>(
        &mut self,
        path: &str,
        definition: &str,
        settings: &str,
        modules: impl IntoIterator<Item = (&'a str, &'a Sha256Digest)>,
    ) {
        let modules: Vec<_> = modules.into_iter().collect();
        for text in [path, definition, settings] {
            self.0.add(text.as_bytes());
        }
        self.0.add(&(modules.len() as u64).to_le_bytes());
        for (path, digest) in modules {
            self.0.add(path.as_bytes());
            self.0.add(digest);
        }
    }

    /// Hexadecimal.
    pub fn finish(self) -> String {
        hex::encode(self.0.finish())
    }
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
        type Modules = Vec<(&'static str, Sha256Digest)>;
        let hash = |environment: &str, components: &[(&str, &str, &str, &Modules)]| {
            let mut hash = CodeHash::new(environment);
            for (path, definition, settings, modules) in components {
                hash.add(path, definition, settings, modules.iter().map(|(path, digest)| (*path, digest)));
            }
            hash.finish()
        };
        let (none, one) = (modules(&[], 1), modules(&["a.js"], 1));
        let all = [
            hash("e", &[("", "", "", &one)]),
            hash("e", &[("", "", "", &none)]),
            hash("e", &[("", "", "", &modules(&["a.js"], 2))]),
            hash("e", &[("", "", "", &modules(&["b.js"], 1))]),
            hash("e", &[("", "", "", &modules(&["a.js", "b.js"], 1))]),
            hash("f", &[("", "", "", &one)]),
            hash("e", &[("", "", "", &one), ("c", "d", "", &none)]),
            hash("e", &[("", "", "", &one), ("d", "d", "", &none)]),
            hash("e", &[("", "", "", &one), ("c", "e", "", &none)]),
            hash("e", &[("", "", "", &one), ("c", "d", "s", &none)]),
            hash("e", &[("", "", "", &none), ("c", "d", "", &one)]),
        ];
        for (position, one) in all.iter().enumerate() {
            assert!(!all[..position].contains(one), "{position}");
        }
        assert_eq!(all[0], hash("e", &[("", "", "", &one)]));
    }
}
