//! What an image is made of.

use std::collections::{BTreeMap, BTreeSet};

/// The modules and the surroundings from which an [`Image`](crate::Image) is built.
///
/// Everything that can influence the evaluation of the modules is here, so that equal sources give equal images.
#[derive(Clone, Debug)]
pub struct ImageSource {
    /// All modules that can be imported, entry points and others, in any order.
    pub modules: Vec<ModuleSource>,
    /// What `process.env` holds, at import and in every call.
    pub environment: BTreeMap<String, String>,
    /// What reading a variable that is not in `environment` does.
    pub unset_variables: UnsetVariables,
    /// The seed of `Math.random` and `crypto.getRandomValues` while the modules are evaluated.
    pub import_seed: [u8; 32],
    /// The clock while the modules are evaluated, in milliseconds since the Unix epoch. It stands still.
    pub import_time_ms: u64,
    /// Whether values that are plain pass the published library's conversion natively. Its results are the same.
    pub native_values: bool,
    /// What the evaluation of the modules may use.
    pub limits: ImportLimits,
}

/// One JavaScript module.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    /// The path by which other modules import it relatively, and which stack traces show, such as `messages.js` or
    /// `_deps/ABC.js`.
    pub path: String,
    /// The text of an ES module.
    pub source: String,
    /// Whether calls can name it. Other modules are evaluated only if an entry point imports them.
    pub is_entry_point: bool,
}

/// What reading an unset environment variable does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsetVariables {
    /// It is `undefined`, as in functions.
    #[default]
    Undefined,
    /// It fails the import with [`ImportError::MissingEnvironmentVariable`](crate::ImportError), as in
    /// `auth.config.js`.
    Fail,
}

/// Environment variables that code has read, set or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariablesRead {
    /// Those of these names.
    Named(BTreeSet<String>),
    /// Possibly any: it looked at what there is, or at very many.
    All,
}

impl VariablesRead {
    /// More names than that are as good as all.
    pub const NAMES_MAX: usize = 1_000;

    /// Whether the name that a host was told stands for one variable. Names that are too long to be kept stand for all.
    pub fn is_one(name: &str) -> bool {
        (1..=1_024).contains(&name.len())
    }

    /// Takes note of one, or of all.
    pub(crate) fn note(&mut self, name: &str) {
        let VariablesRead::Named(names) = self else { return };
        if VariablesRead::is_one(name) && names.len() < VariablesRead::NAMES_MAX {
            names.insert(name.to_owned());
        } else {
            *self = VariablesRead::All;
        }
    }
}

impl Default for VariablesRead {
    fn default() -> Self {
        VariablesRead::Named(BTreeSet::new())
    }
}

/// What the evaluation of an image's modules may use.
#[derive(Clone, Copy, Debug)]
pub struct ImportLimits {
    /// Processor time for all modules together, in milliseconds.
    pub user_time_ms_max: u64,
    /// The linear memory of the image, in bytes.
    pub memory_bytes_max: u64,
}

impl ImportLimits {
    /// What a push is given unless the configuration says otherwise. A dense bundle of 20 MB takes 100 MB of memory.
    pub const DEFAULT: ImportLimits = ImportLimits { user_time_ms_max: 10_000, memory_bytes_max: 512 << 20 };
}

impl Default for ImportLimits {
    fn default() -> Self {
        ImportLimits::DEFAULT
    }
}
