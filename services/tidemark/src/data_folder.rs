//! The folder that holds everything a deployment is.
//!
//! ```text
//!   lock      locked by the process that uses the folder; holds its process id
//!   format    the version of this layout; another one is refused by name
//!   secret    32 random bytes in hexadecimal; keys for different purposes are derived from it, unless the nodes of a cluster
//!             share another one
//!   number    the number of the node in its cluster, where it has one
//!   log/ state/ blobs/
//!   search/   text and vector indexes, made of the documents; made anew where it is missing
//!   node/     what Node.js actions run from; can be made again
//!   env       only while it serves: the two variables that the command line tool takes, and where else it can be reached
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use contract::NodeId;
use hkdf::Hkdf;
use rustix::fs::{FlockOperation, flock};
use sha2::Sha256;

use crate::{process, refusal::Refusal};

const FORMAT: &str = "tidemark data folder, format 1\n";
const URL_LINE: &str = "CONVEX_SELF_HOSTED_URL='";
const LOCAL_URL_LINE: &str = "TIDEMARK_LOCAL_URL='";
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;

/// The folder, held by this process as long as this value lives.
pub struct DataFolder {
    path: PathBuf,
    secret: [u8; 32],
    /// The system lets go of the lock when the file is closed, also when the process is killed.
    _lock: File,
}

impl DataFolder {
    /// Takes the folder, and makes it if it is not there.
    pub fn open(path: &Path) -> Result<DataFolder, Refusal> {
        let unusable = |reason: String| Refusal::UnusableFolder { folder: path.to_owned(), reason };
        let failed = |error: io::Error| unusable(error.to_string());
        DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path).map_err(failed)?;
        // Named in full in messages and in what child processes are told.
        let path = path.canonicalize().map_err(failed)?;
        refuse_foreign(&path).map_err(&unusable)?;
        let lock = lock(&path)?;
        remove_if_there(&path.join("env")).map_err(failed)?;
        match fs::read_to_string(path.join("format")) {
            Ok(format) if format == FORMAT => {}
            Ok(format) => {
                let format: String = format.trim().chars().take(80).collect();
                return Err(unusable(format!(
                    "it says \"{format}\", which this version of Tidemark does not know"
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_new(&path).map_err(&unusable)?,
            Err(error) => return Err(failed(error)),
        }
        let secret = read_secret(&path.join("secret")).map_err(&unusable)?;
        Ok(DataFolder { path, secret, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From here on keys are derived from the secret that the nodes of a cluster share, 32 bytes or their hexadecimal digits.
    pub fn share_secret(&mut self, file: &Path) -> Result<(), Refusal> {
        let unusable = |reason: String| Refusal::UnusableSecret { file: file.to_owned(), reason };
        self.secret = read_shared_secret(file).map_err(unusable)?;
        Ok(())
    }

    /// The number of this node: the one that is given, which the folder keeps from then on, or the one that it keeps.
    pub fn node_number(&self, given: Option<NodeId>) -> Result<NodeId, Refusal> {
        let path = self.path.join("number");
        let failed = |reason: String| Refusal::UnusableFolder { folder: self.path.clone(), reason };
        let kept = match fs::read_to_string(&path) {
            Ok(text) => {
                let number = text.trim().parse().ok().filter(|number| *number > 0).map(NodeId);
                Some(number.ok_or_else(|| failed("the file number holds no number of a node".to_owned()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error.to_string())),
        };
        match (given, kept) {
            (Some(given), Some(kept)) if given != kept => Err(Refusal::OtherNode { given, kept }),
            (None, None) => Err(Refusal::NoNodeNumber),
            (_, Some(kept)) => Ok(kept),
            (Some(given), None) => {
                let text = format!("{given}\n");
                write_whole(&path, text.as_bytes()).map_err(|error| failed(error.to_string()))?;
                Ok(given)
            }
        }
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// A key for one purpose.
    pub fn derive_key(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &self.secret)
            .expand(purpose.as_bytes(), &mut key)
            .expect("32 bytes are within what HKDF can give");
        key
    }

    /// Says how to reach the deployment, for tools that wait until it serves.
    pub fn publish_env(&self, env: &Env<'_>) -> io::Result<()> {
        let Env { url, admin_key, local_url, grpc_url, metrics_url } = env;
        let mut text = format!("{URL_LINE}{url}'\nCONVEX_SELF_HOSTED_ADMIN_KEY='{admin_key}'\n");
        if let Some(url) = local_url {
            text += &format!("{LOCAL_URL_LINE}{url}'\n");
        }
        if let Some(url) = grpc_url {
            text += &format!("TIDEMARK_GRPC_URL='{url}'\n");
        }
        if let Some(url) = metrics_url {
            text += &format!("TIDEMARK_METRICS_URL='{url}'\n");
        }
        write_whole(&self.path.join("env"), text.as_bytes())
    }

    pub fn withdraw_env(&self) {
        if let Err(error) = remove_if_there(&self.path.join("env")) {
            tracing::warn!("removing the file env from the data folder: {error}");
        }
    }
}

/// What the file `env` says.
pub struct Env<'a> {
    /// Where clients reach the API.
    pub url: &'a str,
    pub admin_key: &'a str,
    /// Where this machine reaches it without a certificate, if it does.
    pub local_url: Option<&'a str>,
    pub grpc_url: Option<&'a str>,
    pub metrics_url: Option<&'a str>,
}

fn lock(folder: &Path) -> Result<File, Refusal> {
    let failed =
        |error: io::Error| Refusal::UnusableFolder { folder: folder.to_owned(), reason: error.to_string() };
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(PRIVATE_FILE);
    let mut file = options.open(path).map_err(failed)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed(error.into()));
        }
        let mut holder = String::new();
        let process = file
            .read_to_string(&mut holder)
            .ok()
            .and_then(|_| holder.trim().parse().ok())
            .map(process::describe);
        return Err(Refusal::FolderInUse { folder: folder.to_owned(), process });
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// Refuses a folder that somebody keeps something else in, before anything is written there.
fn refuse_foreign(folder: &Path) -> Result<(), String> {
    // What a start that was cut short has left behind is ours; and a disk of its own has `lost+found` from the first.
    const OURS: [&str; 5] = ["lock", "lost+found", "secret", "secret.new", "format.new"];
    if folder.join("format").exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        if !OURS.iter().any(|ours| name == *ours) {
            return Err(format!("it holds {name:?} and is not a data folder of Tidemark"));
        }
    }
    Ok(())
}

/// The format goes last: a folder that has it is complete.
fn make_new(folder: &Path) -> Result<(), String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| format!("no randomness: {error}"))?;
    let said = |error: io::Error| error.to_string();
    write_whole(&folder.join("secret"), format!("{}\n", hex::encode(secret)).as_bytes()).map_err(said)?;
    write_whole(&folder.join("format"), FORMAT.as_bytes()).map_err(said)
}

fn read_secret(path: &Path) -> Result<[u8; 32], String> {
    let file = |error: io::Error| format!("the file secret can't be read: {error}");
    let text = fs::read_to_string(path).map_err(file)?;
    if fs::metadata(path).map_err(file)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(PRIVATE_FILE)).map_err(file)?;
        tracing::warn!("others could read the file secret in the data folder; they can't any more");
    }
    let bytes = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "the file secret is not 32 bytes in hexadecimal".to_owned())
}

/// Of a file with 32 bytes or their hexadecimal digits.
fn read_shared_secret(file: &Path) -> Result<[u8; 32], String> {
    let bytes = fs::read(file).map_err(|error| error.to_string())?;
    let digits = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| hex::decode(text.trim()).ok())
        .filter(|bytes| bytes.len() == 32);
    let secret = <[u8; 32]>::try_from(digits.unwrap_or(bytes));
    secret.map_err(|_| "it does not hold 32 bytes".to_owned())
}

/// How to reach the server that uses a folder, and its secret.
pub struct Served {
    pub url: String,
    pub secret: [u8; 32],
}

/// What a folder says of the server that uses it; `shared` is the file with the secret of its cluster, where it is a node of one.
/// Errors: a sentence, if it is none, or nothing serves it.
pub fn served(path: &Path, shared: Option<&Path>) -> Result<Served, String> {
    let folder = path.display();
    let env = fs::read_to_string(path.join("env"))
        .map_err(|error| format!("no server that serves uses the folder {folder} ({error})"))?;
    let find = |name: &str| {
        env.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix('\'').map(str::to_owned))
    };
    let url = find(LOCAL_URL_LINE).or_else(|| find(URL_LINE));
    let url = url.ok_or_else(|| format!("the file env in {folder} names no address"))?;
    let secret = match shared {
        Some(file) => read_shared_secret(file).map_err(|reason| format!("{}: {reason}", file.display()))?,
        None => read_secret(&path.join("secret"))?,
    };
    Ok(Served { url, secret })
}

/// The file is there whole or not at all, also after a loss of power.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("new");
    remove_if_there(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().expect("a file in the data folder has a parent");
    File::open(folder)?.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_gets_a_secret_that_stays() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("made/for/it");
        let first = DataFolder::open(&path).expect("opens");
        let (secret, key) = (*first.secret(), first.derive_key("a"));
        assert_ne!(secret, [0; 32]);
        assert_ne!(key, first.derive_key("b"));
        assert_eq!((mode(&path), mode(&path.join("secret"))), (0o700, 0o600));
        drop(first);
        let second = DataFolder::open(&path).expect("opens again");
        assert_eq!((second.secret(), second.derive_key("a")), (&secret, key));
    }

    #[test]
    fn a_new_disk_is_an_empty_folder() {
        let disk = tempfile::tempdir().expect("a folder");
        fs::create_dir(disk.path().join("lost+found")).expect("as mkfs makes it");
        drop(DataFolder::open(disk.path()).expect("opens"));
        assert!(DataFolder::open(disk.path()).is_ok());
        let other = tempfile::tempdir().expect("a folder");
        fs::create_dir(other.path().join("photos")).expect("somebody's");
        let refused = DataFolder::open(other.path()).map(|_| ()).expect_err("it is somebody's").to_string();
        assert!(refused.contains("photos"), "{refused}");
    }

    #[test]
    fn one_process_holds_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = DataFolder::open(folder.path()).expect("opens");
        match DataFolder::open(folder.path()).map(|_| ()) {
            Err(Refusal::FolderInUse { process: Some(process), .. }) => {
                assert!(process.contains(&std::process::id().to_string()), "{process}");
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        assert!(DataFolder::open(folder.path()).is_ok());
    }

    #[test]
    fn a_node_keeps_its_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::open(folder.path()).expect("opens");
        assert!(matches!(data.node_number(None), Err(Refusal::NoNodeNumber)));
        assert_eq!(data.node_number(Some(NodeId(7))).expect("given"), NodeId(7));
        for given in [None, Some(NodeId(7))] {
            assert_eq!(data.node_number(given).expect("kept"), NodeId(7));
        }
        let refused = data.node_number(Some(NodeId(8))).expect_err("another").to_string();
        assert!(refused.starts_with("NodeNumberDiffers: "), "{refused}");
        fs::write(folder.path().join("number"), "x").expect("writes");
        assert!(data.node_number(None).expect_err("damaged").to_string().contains("number"));
    }

    #[test]
    fn nodes_share_a_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("shared");
        let mut data = DataFolder::open(&folder.path().join("data")).expect("opens");
        let own = data.derive_key("a");
        let mut keys = Vec::new();
        for content in [vec![7; 32], format!("{}\n", "07".repeat(32)).into_bytes()] {
            fs::write(&file, content).expect("writes");
            data.share_secret(&file).expect("32 bytes");
            keys.push(data.derive_key("a"));
        }
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0], own);
        for content in [vec![], vec![7; 31], b"0707".to_vec()] {
            fs::write(&file, content).expect("writes");
            let refused = data.share_secret(&file).expect_err("not 32 bytes").to_string();
            assert!(refused.starts_with("SecretUnusable: "), "{refused}");
        }
    }

    #[test]
    fn the_env_file_is_private_and_goes_at_the_next_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::open(folder.path()).expect("opens");
        let env = Env {
            url: "https://api.example",
            admin_key: "dev|01",
            local_url: None,
            grpc_url: None,
            metrics_url: None,
        };
        data.publish_env(&env).expect("writes");
        let path = folder.path().join("env");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(
            fs::read_to_string(&path).expect("reads"),
            "CONVEX_SELF_HOSTED_URL='https://api.example'\nCONVEX_SELF_HOSTED_ADMIN_KEY='dev|01'\n"
        );
        let found = served(folder.path(), None).expect("it is served");
        assert_eq!((&found.url[..], &found.secret), ("https://api.example", data.secret()));
        data.publish_env(&Env { local_url: Some("http://127.0.0.1:3210"), ..env }).expect("writes");
        let found = served(folder.path(), None).expect("it is served");
        assert_eq!(found.url, "http://127.0.0.1:3210", "the operator's key stays on the machine");
        let shared = tempfile::NamedTempFile::new().expect("a file");
        fs::write(shared.path(), [7; 32]).expect("writes");
        assert_eq!(served(folder.path(), Some(shared.path())).expect("it is served").secret, [7; 32]);
        drop(data);
        let data = DataFolder::open(folder.path()).expect("opens again");
        assert!(!path.exists());
        assert!(served(folder.path(), None).is_err_and(|reason| reason.contains("no server")));
        data.withdraw_env();
    }

    #[test]
    fn foreign_newer_and_broken_folders_are_refused_and_left_alone() {
        let refused = |file: &str, text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join(file), text).expect("writes");
            let refusal = DataFolder::open(folder.path()).map(|_| ()).expect_err("refused").to_string();
            assert!(!folder.path().join("secret").exists());
            assert_eq!(fs::read_to_string(folder.path().join(file)).expect("reads"), text);
            refusal
        };
        assert!(refused("thesis.txt", "precious").contains("not a data folder"));
        assert!(refused("format", "tidemark data folder, format 99\n").contains("format 99"));
        assert!(
            refused("format", FORMAT).contains("secret"),
            "a folder that lost its secret gets no other one"
        );
    }
}
