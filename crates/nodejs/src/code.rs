//! The modules of an app, in folders by their hash.

use std::{
    collections::HashMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use contract::{DeploymentRef, Error, ModuleSource};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::PackagesId;

/// Names the modules of an app that are for Node.js by what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodeId([u8; 32]);

impl CodeId {
    /// Of modules by their paths, the SHA-256 of their sources and of their source maps, in any order.
    pub fn of_digests<'m>(
        modules: impl IntoIterator<Item = (&'m str, [u8; 32], Option<[u8; 32]>)>,
    ) -> CodeId {
        let mut modules: Vec<_> = modules.into_iter().collect();
        modules.sort_unstable();
        let mut hash = Sha256::new();
        for (path, source, map) in modules {
            hash.update((path.len() as u64).to_be_bytes());
            hash.update(path);
            hash.update(source);
            hash.update([u8::from(map.is_some())]);
            hash.update(map.unwrap_or_default());
        }
        CodeId(hash.finalize().into())
    }

    /// Of modules by their texts.
    pub fn of(modules: &[ModuleSource]) -> CodeId {
        let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
        CodeId::of_digests(modules.iter().map(|module| {
            (module.path.as_str(), digest(&module.source), module.source_map.as_deref().map(digest))
        }))
    }
}

/// The folders with code. They are made once, and those go that nobody has used for the longest time.
pub(crate) struct CodeFolders {
    root: PathBuf,
    folders_max: usize,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    uses: u64,
    last: HashMap<PathBuf, u64>,
}

impl CodeFolders {
    pub(crate) fn new(root: PathBuf, folders_max: usize) -> CodeFolders {
        CodeFolders { root, folders_max, used: Mutex::default() }
    }

    /// Where a code is, with its packages beside it.
    pub(crate) fn path(
        &self,
        deployment: DeploymentRef,
        code: CodeId,
        packages: Option<&PackagesId>,
    ) -> PathBuf {
        let mut hash = Sha256::new_with_prefix(code.0);
        hash.update(packages.map_or("", PackagesId::as_str));
        let name = hex::encode(hash.finalize());
        self.root.join(format!("{}-{}", deployment.group.0, deployment.deployment.0)).join(name)
    }

    /// Whether the code is there. If so, it counts as used.
    pub(crate) fn has(&self, folder: &Path) -> bool {
        let is_there = folder.is_dir();
        if is_there {
            self.touch(folder);
        }
        is_there
    }

    /// Puts modules into their folder. `packages` is a folder `node_modules`, `spared` are folders that are in use.
    pub(crate) fn write(
        &self,
        folder: &Path,
        modules: &[ModuleSource],
        packages: Option<&Path>,
        spared: &[PathBuf],
    ) -> Result<(), Error> {
        for module in modules {
            check_path(&module.path)?;
        }
        self.write_checked(folder, modules, packages, spared)
            .map_err(|error| Error::internal(format!("write the modules for Node.js: {error}")))
    }

    fn write_checked(
        &self,
        folder: &Path,
        modules: &[ModuleSource],
        packages: Option<&Path>,
        spared: &[PathBuf],
    ) -> io::Result<()> {
        let number = self.touch(folder);
        let parent = folder.parent().expect("code stands in the folder of its deployment");
        let new = parent.join(format!("new-{number}"));
        fs::create_dir_all(&new)?;
        fs::write(new.join("package.json"), r#"{"type":"module"}"#)?;
        for module in modules {
            let path = new.join(&module.path);
            fs::create_dir_all(path.parent().expect("it stands in the new folder"))?;
            fs::write(&path, module.source.as_bytes())?;
            if let Some(map) = &module.source_map {
                // As the last line of the source names it.
                fs::write(path.with_added_extension("map"), map.as_bytes())?;
            }
        }
        if let Some(packages) = packages {
            std::os::unix::fs::symlink(packages, new.join("node_modules"))?;
        }
        match fs::rename(&new, folder) {
            // Somebody else was faster, and wrote the same.
            Err(_) if folder.is_dir() => fs::remove_dir_all(&new)?,
            renamed => renamed?,
        }
        self.remove_oldest(spared)
    }

    fn touch(&self, folder: &Path) -> u64 {
        let mut used = self.used.lock();
        used.uses += 1;
        let number = used.uses;
        used.last.insert(folder.to_owned(), number);
        number
    }

    fn remove_oldest(&self, spared: &[PathBuf]) -> io::Result<()> {
        let mut gone = Vec::new();
        {
            let mut used = self.used.lock();
            while used.last.len() > self.folders_max {
                let free = used.last.iter().filter(|(folder, _)| !spared.contains(folder));
                let Some(oldest) = free.min_by_key(|(_, last)| **last).map(|(folder, _)| folder.clone())
                else {
                    break;
                };
                used.last.remove(&oldest);
                gone.push(oldest);
            }
        }
        gone.iter().try_for_each(fs::remove_dir_all)
    }
}

/// A module stays in its folder, whatever a push calls it.
fn check_path(path: &str) -> Result<(), Error> {
    let is_plain = !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        && !matches!(path, "package.json" | "node_modules")
        && !path.starts_with("node_modules/");
    if is_plain {
        Ok(())
    } else {
        Err(Error::bad_request("InvalidModules", format!("`{path}` can't be the path of a module.")))
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };

    fn module(path: &str, source: &str) -> ModuleSource {
        ModuleSource { path: path.to_owned(), source: source.into(), source_map: Some("{}".into()) }
    }

    #[test]
    fn nodejs_code_is_named_by_all_that_is_in_it_and_by_nothing_else() {
        let (a, b) = (module("a.js", "1"), module("b.js", "2"));
        let id = CodeId::of(&[a.clone(), b.clone()]);
        assert_eq!(id, CodeId::of(&[b.clone(), a.clone()]));
        let without_map = ModuleSource { source_map: None, ..a.clone() };
        for other in [vec![a.clone()], vec![without_map, b], vec![a, module("b.js", "3")]] {
            assert_ne!(id, CodeId::of(&other));
        }
    }

    #[test]
    fn nodejs_modules_stay_in_their_folder() {
        for path in ["", "../a.js", "/a.js", "a/../../b.js", "node_modules/x.js", "package.json"] {
            assert!(check_path(path).is_err(), "{path}");
        }
        assert!(check_path("_deps/node/ABC.js").is_ok());
    }

    #[test]
    fn nodejs_code_that_was_used_least_recently_goes_unless_a_process_has_it() {
        let root = tempfile::tempdir().expect("a folder");
        let folders = CodeFolders::new(root.path().to_owned(), 2);
        let write = |source: &str, spared: &[PathBuf]| {
            let modules = [module("sub/a.js", source)];
            let folder = folders.path(DEPLOYMENT, CodeId::of(&modules), None);
            folders.write(&folder, &modules, None, spared).expect("written");
            assert_eq!(fs::read_to_string(folder.join("sub/a.js")).expect("there"), source);
            assert_eq!(fs::read_to_string(folder.join("sub/a.js.map")).expect("there"), "{}");
            folder
        };
        let (one, two) = (write("1", &[]), write("2", &[]));
        let three = write("3", std::slice::from_ref(&one));
        assert_eq!([&one, &two, &three].map(|folder| folders.has(folder)), [true, false, true]);
    }
}
