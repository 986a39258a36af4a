//! The node's two folders, `log` and `state`: that this version reads them, that they belong together, and to this node.
//!
//! ```text
//! log/format, state/format        what wrote the folder: one line
//! log/identity, state/identity    whose it is: the same in both
//! ```
//!
//! A node votes by what its log remembers, and its state has what its log no longer holds. With one of the two from elsewhere,
//! or gone, it could vote twice or forget commits; so it is not started.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use rand::RngExt;

/// What the folder of the log says of its format.
pub const LOG_FORMAT: &str = "tidemark log 1\n";
/// What the folder of the state says of its format.
pub const STATE_FORMAT: &str = "tidemark state 1\n";
const IDENTITY_FORMAT: &str = "tidemark identity 1";

/// Why the folders can't be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "StoreFormatUnknown: {path} is not a store of this version: its format file says {found:?}, expected {expected:?}"
    )]
    Format { path: PathBuf, found: String, expected: &'static str },
    #[error("StoreIdentityUnknown: {path} does not say whose it is: {reason}")]
    Identity { path: PathBuf, reason: String },
    #[error(
        "StoreEmptied: {empty} is empty, but {other} has data of the same node. A node that lost one of the two must begin anew, \
         with both folders empty and a new node id"
    )]
    Emptied { empty: PathBuf, other: PathBuf },
    #[error("StoresDiffer: the folders {log} and {state} do not belong together: {reason}")]
    Differ { log: PathBuf, state: PathBuf, reason: String },
    #[error("StoreOfOtherNode: {path} belongs to node {stored}, and this is node {configured}")]
    OtherNode { path: PathBuf, stored: u64, configured: u64 },
    #[error("StoreDamaged: {0}")]
    Damaged(io::Error),
    #[error("{path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("{path} can't be opened: {source}")]
    Database { path: PathBuf, source: rocksdb::Error },
}

/// Whose a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Drawn at the first start.
    pub cluster: [u8; 16],
    pub node: u64,
}

impl Identity {
    fn text(&self) -> String {
        let cluster = u128::from_be_bytes(self.cluster);
        format!("{IDENTITY_FORMAT}\ncluster {cluster:032x}\nnode {}\n", self.node)
    }

    fn parse(text: &str) -> Option<Identity> {
        let rest = text.strip_prefix(IDENTITY_FORMAT)?.strip_prefix("\ncluster ")?;
        let (cluster, node) = rest.split_once("\nnode ")?;
        let cluster = u128::from_str_radix(cluster, 16).ok()?.to_be_bytes();
        Some(Identity { cluster, node: node.strip_suffix('\n')?.parse().ok()? })
    }
}

/// What is in one of the folders.
struct Found {
    path: PathBuf,
    format: &'static str,
    identity: Option<Identity>,
    has_data: bool,
}

/// Checks the folders of a node, and on the first start makes them.
pub fn open(root: &Path, node: u64) -> Result<Identity, OpenError> {
    let log = look(root.join("log"), LOG_FORMAT)?;
    let state = look(root.join("state"), STATE_FORMAT)?;
    let identity = match (log.identity, state.identity) {
        (Some(of_log), Some(of_state)) if of_log == of_state => of_log,
        (Some(of_log), Some(of_state)) => {
            let reason = format!("one says\n{}the other\n{}", of_log.text(), of_state.text());
            return Err(OpenError::Differ { log: log.path, state: state.path, reason });
        }
        (None, None) => Identity { cluster: rand::rng().random(), node },
        // Either the first start was interrupted, before anything was stored, or what was stored in one is gone.
        (Some(_), None) if log.has_data => {
            return Err(OpenError::Emptied { empty: state.path, other: log.path });
        }
        (None, Some(_)) if state.has_data => {
            return Err(OpenError::Emptied { empty: log.path, other: state.path });
        }
        (Some(identity), None) | (None, Some(identity)) => identity,
    };
    if identity.node != node {
        return Err(OpenError::OtherNode { path: log.path, stored: identity.node, configured: node });
    }
    for found in [log, state] {
        prepare(&found.path, found.format)?;
        if found.identity.is_none() {
            write_durably(&found.path, "identity", &identity.text())?;
        }
    }
    Ok(identity)
}

fn look(path: PathBuf, format: &'static str) -> Result<Found, OpenError> {
    let has_data = has_data(&path);
    check_format(&path, format)?;
    let identity = match read(&path, "identity")? {
        Some(text) => {
            let reason = || format!("its identity file says {text:?}");
            let identity = Identity::parse(&text);
            Some(identity.ok_or_else(|| OpenError::Identity { path: path.clone(), reason: reason() })?)
        }
        None if has_data => {
            return Err(OpenError::Identity { path, reason: "it has no identity file".into() });
        }
        None => None,
    };
    Ok(Found { path, format, identity, has_data })
}

/// Creates the folder, or checks that what is in it has the expected format.
pub fn prepare(path: &Path, format: &'static str) -> Result<(), OpenError> {
    if check_format(path, format)? {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|source| OpenError::Folder { path: path.to_owned(), source })?;
    write_durably(path, "format", format)
}

/// Whether the folder says that it has this format; whether it is new, otherwise.
fn check_format(path: &Path, expected: &'static str) -> Result<bool, OpenError> {
    match read(path, "format")? {
        Some(found) if found == expected => Ok(true),
        None if !has_data(path) => Ok(false),
        found => Err(OpenError::Format { path: path.to_owned(), found: found.unwrap_or_default(), expected }),
    }
}

fn has_data(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

fn read(path: &Path, name: &str) -> Result<Option<String>, OpenError> {
    match fs::read_to_string(path.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Folder { path: path.join(name), source }),
    }
}

/// All of it or nothing is there after a crash, and all of it once this returns.
fn write_durably(folder: &Path, name: &str, text: &str) -> Result<(), OpenError> {
    let write = || {
        let new = folder.join(format!("{name}.new"));
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, folder.join(name))?;
        // The names are durable with their folders.
        fs::File::open(folder)?.sync_all()?;
        folder.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    };
    write().map_err(|source| OpenError::Folder { path: folder.join(name), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: u64 = 7;

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Root {
            Root(tempfile::tempdir().unwrap())
        }

        fn open(&self) -> Result<Identity, OpenError> {
            open(self.0.path(), NODE)
        }

        fn part(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// As if something was stored in it.
        fn fill(&self, name: &str) {
            fs::write(self.part(name).join("CURRENT"), "MANIFEST-1\n").unwrap();
        }

        /// A node that has stored something.
        fn of_node() -> Root {
            let root = Root::new();
            root.open().unwrap();
            root.fill("log");
            root.fill("state");
            root
        }

        /// Every file and what is in it.
        fn files(&self) -> Vec<(PathBuf, String)> {
            let mut files = Vec::new();
            let mut folders = vec![self.0.path().to_owned()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        files.push((path.clone(), String::new()));
                        folders.push(path);
                    } else {
                        files.push((path.clone(), fs::read_to_string(path).unwrap()));
                    }
                }
            }
            files.sort();
            files
        }

        /// The refusal, which has changed nothing.
        fn refused(&self, node: u64) -> String {
            let before = self.files();
            let error = open(self.0.path(), node).unwrap_err().to_string();
            assert_eq!(self.files(), before, "{error}");
            error
        }
    }

    #[test]
    fn the_first_start_gives_an_identity_that_stays() {
        let root = Root::new();
        let identity = root.open().unwrap();
        assert_eq!(identity.node, NODE);
        assert_eq!(root.open().unwrap(), identity, "also if nothing was stored yet");
        root.fill("log");
        assert_eq!(root.open().unwrap(), identity, "the log is made before the state");
        root.fill("state");
        assert_eq!(root.open().unwrap(), identity);
        assert_ne!(Root::new().open().unwrap().cluster, identity.cluster);
    }

    #[test]
    fn a_first_start_that_was_interrupted_is_completed() {
        let root = Root::new();
        let identity = root.open().unwrap();
        for (gone, left) in [("state", "log"), ("log", "state")] {
            fs::remove_dir_all(root.part(gone)).unwrap();
            assert_eq!(root.open().unwrap(), identity, "{left} has it");
            fs::remove_file(root.part(gone).join("identity")).unwrap();
            assert_eq!(root.open().unwrap(), identity, "{left} has it");
        }
    }

    #[test]
    fn an_emptied_folder_is_refused() {
        for gone in ["log", "state"] {
            let root = Root::of_node();
            fs::remove_dir_all(root.part(gone)).unwrap();
            assert!(root.refused(NODE).starts_with("StoreEmptied: "), "without {gone}");
            fs::create_dir(root.part(gone)).unwrap();
            assert!(root.refused(NODE).starts_with("StoreEmptied: "), "with an empty {gone}");
        }
    }

    #[test]
    fn a_folder_of_another_cluster_or_node_is_refused() {
        for swapped in ["log", "state"] {
            let (root, other) = (Root::of_node(), Root::of_node());
            fs::remove_dir_all(root.part(swapped)).unwrap();
            fs::rename(other.part(swapped), root.part(swapped)).unwrap();
            assert!(root.refused(NODE).starts_with("StoresDiffer: "), "{swapped}");
        }
        let error = Root::of_node().refused(NODE + 1);
        assert!(error.starts_with("StoreOfOtherNode: ") && error.contains("node 7"), "{error}");
    }

    #[test]
    fn data_without_an_identity_and_unknown_formats_are_refused_by_name() {
        for part in ["log", "state"] {
            let root = Root::of_node();
            fs::remove_file(root.part(part).join("identity")).unwrap();
            assert!(root.refused(NODE).starts_with("StoreIdentityUnknown: "), "{part}");
            fs::write(root.part(part).join("identity"), "tidemark identity 2\nnode 7\n").unwrap();
            let error = root.refused(NODE);
            assert!(error.contains("tidemark identity 2"), "{error}");
            fs::write(root.part(part).join("format"), "tidemark 999\n").unwrap();
            let error = root.refused(NODE);
            assert!(error.starts_with("StoreFormatUnknown: ") && error.contains("tidemark 999"), "{error}");
            fs::remove_file(root.part(part).join("format")).unwrap();
            assert!(root.refused(NODE).starts_with("StoreFormatUnknown: "), "{part}");
        }
    }
}
