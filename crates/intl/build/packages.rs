//! Reads the packages of CLDR that npm has installed.

use std::path::{Path, PathBuf};

use serde_json::Value;

pub const NAMES: [&str; 6] = [
    "cldr-bcp47",
    "cldr-core",
    "cldr-dates-full",
    "cldr-localenames-full",
    "cldr-numbers-full",
    "cldr-units-full",
];

pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// The installed packages, if they have the versions that package.json names.
    pub fn find() -> Result<Packages, String> {
        let manifest = read(Path::new("package.json"))?.ok_or("crates/intl has no package.json")?;
        println!("cargo::rerun-if-changed=package.json");
        let folder = PathBuf::from("node_modules");
        for name in NAMES {
            let path = folder.join(name).join("package.json");
            println!("cargo::rerun-if-changed={}", path.display());
            let wanted = manifest["dependencies"][name].as_str();
            let installed = read(&path)?;
            let installed = installed.as_ref().and_then(|manifest| manifest["version"].as_str());
            if wanted.is_none() || wanted != installed {
                return Err(format!(
                    "{name} {} is needed, {} is installed; `make setup` changes that, or `npm ci` in crates/intl",
                    wanted.unwrap_or("without a version"),
                    installed.unwrap_or("none")
                ));
            }
        }
        Ok(Packages { folder })
    }

    /// A file of a package; nothing, where it has none of that name.
    pub fn optional(&self, path: &str) -> Result<Option<Value>, String> {
        read(&self.folder.join(path))
    }

    pub fn file(&self, path: &str) -> Result<Value, String> {
        self.optional(path)?.ok_or_else(|| format!("{path} is missing"))
    }

    pub fn supplement(&self, name: &str) -> Result<Value, String> {
        Ok(self.file(&format!("cldr-core/supplemental/{name}.json"))?["supplemental"].take())
    }

    /// The locales that have a folder of their own.
    pub fn locales(&self) -> Result<Vec<String>, String> {
        let folder = self.folder.join("cldr-dates-full/main");
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("reading {}: {error}", folder.display()))?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, std::io::Error>>()
            .map_err(|error| format!("reading {}: {error}", folder.display()))?;
        names.sort();
        Ok(names)
    }
}

fn read(path: &Path) -> Result<Option<Value>, String> {
    match std::fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("reading {}: {error}", path.display())),
    }
}
