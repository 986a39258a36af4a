//! The packages that modules for Node.js import: installed by npm, in folders by the hash of their lock.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use contract::{Error, ErrorKind, NodePackage};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{Executor, NodeLimits, NodeVersion, executor::not_started, family, program::locate, spawn};

/// What packages stand for: the versions of all that they need, and the hashes of their contents. It is the same wherever
/// packages come from, and on every machine that it is installed on; so it is what a push stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock(String);

/// Names packages that are installed: their lock, for one version of Node.js on one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackagesId(String);

/// Why packages are not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message of their variant names")]
pub enum PackagesError {
    #[error("`{name}@{version}` is not a package of a registry with an exact version.")]
    Invalid { name: String, version: String },
    #[error("The app imports {count} external packages, more than the {count_max} that are allowed.")]
    TooMany { count: usize, count_max: usize },
    #[error("npm could not install {packages}: {reason}")]
    NotInstalled { packages: String, reason: String },
    #[error("Installing {packages} took longer than {} s.", *limit_ms as f64 / 1e3)]
    TooSlow { packages: String, limit_ms: u64 },
    #[error("{packages} take more than the {} MiB that external packages may have.", *limit_bytes >> 20)]
    TooLarge { packages: String, limit_bytes: usize },
    #[error("{0}")]
    Service(Error),
}

/// Where packages are.
pub(crate) struct Packages {
    root: PathBuf,
    /// Packages are installed one after another: npm takes all processors and its cache is one folder.
    turn: tokio::sync::Mutex<()>,
    folders: AtomicU64,
}

impl Lock {
    /// As it was stored.
    pub fn from_text(text: String) -> Lock {
        Lock(text)
    }

    /// To be stored.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// How it is named when it is installed on this machine.
    pub fn id(&self, version: NodeVersion) -> PackagesId {
        let machine = format!("1 {} {} {}\n", version.number(), std::env::consts::OS, std::env::consts::ARCH);
        PackagesId(hex::encode(Sha256::new_with_prefix(machine).chain_update(&self.0).finalize()))
    }
}

impl PackagesId {
    /// 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackagesId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<PackagesError> for Error {
    fn from(error: PackagesError) -> Error {
        let message = error.to_string();
        match error {
            PackagesError::Invalid { .. } => Error::bad_request("InvalidNodePackage", message),
            PackagesError::TooMany { .. } => Error::bad_request("TooManyNodePackages", message),
            PackagesError::NotInstalled { .. } => Error::bad_request("NodePackagesNotInstalled", message),
            PackagesError::TooSlow { .. } => {
                Error::new(ErrorKind::Overloaded, "NodePackagesTooSlow", message)
            }
            PackagesError::TooLarge { .. } => Error::bad_request("NodePackagesTooLarge", message),
            PackagesError::Service(error) => error,
        }
    }
}

impl Packages {
    pub(crate) fn new(root: PathBuf) -> Packages {
        Packages { root, turn: tokio::sync::Mutex::new(()), folders: AtomicU64::new(0) }
    }

    /// The folder `node_modules` of packages that are installed.
    pub(crate) fn installed(&self, id: &PackagesId) -> Option<PathBuf> {
        let folder = self.root.join("installed").join(&id.0).join("node_modules");
        folder.is_dir().then_some(folder)
    }
}

impl Executor {
    /// Finds out what packages stand for. That was found out before is not asked for again.
    pub async fn lock(&self, packages: &[NodePackage], version: NodeVersion) -> Result<Lock, PackagesError> {
        let limits = &self.shared.options.limits;
        let (count, count_max) = (packages.len(), limits.packages_max);
        if count > count_max {
            return Err(PackagesError::TooMany { count, count_max });
        }
        for NodePackage { name, version } in packages {
            if !is_name(name) || !is_exact_version(version) {
                return Err(PackagesError::Invalid { name: name.clone(), version: version.clone() });
            }
        }
        let wanted: BTreeMap<&str, &str> =
            packages.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        let manifest = json!({"private": true, "dependencies": wanted}).to_string();
        let known = self.shared.packages.root.join("locks").join(hex::encode(Sha256::digest(&manifest)));
        if let Ok(text) = fs::read_to_string(&known) {
            return Ok(Lock(text));
        }
        let _turn = self.shared.packages.turn.lock().await;
        let work = self.work_folder(&manifest, None)?;
        let names = names(packages);
        let npm = self.npm(&work, &["install", "--package-lock-only"], version, &names);
        let done = self.until_shutdown(npm).await.map_err(PackagesError::Service).flatten();
        let text = done.and_then(|()| {
            let text =
                fs::read_to_string(work.join("package-lock.json")).map_err(|error| io_failed(&error))?;
            fs::create_dir_all(known.parent().expect("it has one")).map_err(|error| io_failed(&error))?;
            put(&known, &text).map_err(|error| io_failed(&error))?;
            Ok(text)
        });
        remove(&work);
        text.map(Lock)
    }

    /// Installs what a lock names, if it is not there yet: from npm's cache if that has it, else from the registry.
    pub async fn install(&self, lock: &Lock, version: NodeVersion) -> Result<PackagesId, PackagesError> {
        let id = lock.id(version);
        let packages = &self.shared.packages;
        if packages.installed(&id).is_some() {
            return Ok(id);
        }
        let read: Json = serde_json::from_str(&lock.0).map_err(|error| {
            PackagesError::Service(Error::internal(format!("read a lock of npm: {error}")))
        })?;
        let wanted = &read["packages"][""]["dependencies"];
        let wanted_names: Vec<&str> =
            wanted.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let _turn = packages.turn.lock().await;
        if packages.installed(&id).is_some() {
            return Ok(id);
        }
        let manifest = json!({"private": true, "dependencies": wanted}).to_string();
        let work = self.work_folder(&manifest, Some(&lock.0))?;
        let names = wanted_names.join(", ");
        let npm = self.npm(&work, &["ci"], version, &names);
        let done = self.until_shutdown(npm).await.map_err(PackagesError::Service).flatten();
        let moved = done.and_then(|()| {
            // An app without packages has none installed.
            fs::create_dir_all(work.join("node_modules")).map_err(|error| io_failed(&error))?;
            let folder = packages.root.join("installed").join(&id.0);
            fs::create_dir_all(folder.parent().expect("it has one")).map_err(|error| io_failed(&error))?;
            fs::rename(&work, &folder).map_err(|error| io_failed(&error))
        });
        remove(&work);
        moved.map(|()| id)
    }

    fn work_folder(&self, manifest: &str, lock: Option<&str>) -> Result<PathBuf, PackagesError> {
        let packages = &self.shared.packages;
        let number = packages.folders.fetch_add(1, Ordering::Relaxed);
        let work = packages.root.join(format!("new-{number}"));
        let written = || {
            remove(&work);
            fs::create_dir_all(&work)?;
            fs::write(work.join("package.json"), manifest)?;
            lock.map_or(Ok(()), |lock| fs::write(work.join("package-lock.json"), lock))
        };
        written().map_err(|error| io_failed(&error))?;
        Ok(work)
    }

    async fn npm(
        &self,
        work: &Path,
        arguments: &[&str],
        version: NodeVersion,
        packages: &str,
    ) -> Result<(), PackagesError> {
        let options = &self.shared.options;
        let limits = &options.limits;
        let node = self.shared.program(version).map_err(PackagesError::Service)?;
        let npm = locate(&options.npm).ok_or_else(|| {
            let message = "npm is needed to install external packages, and was not found on this server.";
            PackagesError::Service(Error::bad_request("NpmNotFound", message))
        })?;
        let folder_of = |program: &Path| program.parent().map(|folder| folder.display().to_string());
        let path: Vec<String> =
            [folder_of(node), folder_of(&npm), Some(options.path.clone())].into_iter().flatten().collect();
        // Its own modules are beside what the link stands for.
        let script = fs::canonicalize(&npm).map_err(|error| io_failed(&error))?;
        let mut command = spawn::command(node, &path.join(":"), work);
        command.arg(script).args(arguments);
        command.arg(format!("--ignore-scripts={}", !options.install_scripts));
        let root = &self.shared.packages.root;
        let settings = [
            ("cache", root.join("npm-cache").display().to_string()),
            ("globalconfig", root.join("none").display().to_string()),
            ("audit", "false".to_owned()),
            ("fund", "false".to_owned()),
            ("update_notifier", "false".to_owned()),
            ("prefer_offline", "true".to_owned()),
            ("omit", "dev".to_owned()),
            ("omit_lockfile_registry_resolved", "true".to_owned()),
            ("loglevel", "error".to_owned()),
            ("progress", "false".to_owned()),
            ("fetch_retries", "1".to_owned()),
        ];
        command.envs(settings.map(|(name, value)| (format!("npm_config_{name}"), value)));
        // It would keep what it has compiled among the packages.
        command.env("NODE_COMPILE_CACHE", root.join("compile-cache"));
        // Node.js has a list of its own of whom it trusts. Whom the server is told to trust besides, it trusts as well.
        let mut named = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].into_iter().filter_map(std::env::var_os);
        if let Some(file) = named.find(|file| !file.is_empty()) {
            let file = std::path::absolute(file).map_err(|error| io_failed(&error))?;
            command.env("NODE_EXTRA_CA_CERTS", file);
        }
        if let Some(registry) = &options.registry {
            command.env("npm_config_registry", registry);
        }
        if let Some(file) = &options.npm_settings {
            let file = std::path::absolute(file).map_err(|error| io_failed(&error))?;
            command.env("npm_config_userconfig", file);
        }
        spawn::isolate(&mut command, None);
        let failed = |error: io::Error| PackagesError::Service(not_started(error.to_string()));
        let mut child = self.shared.spawner.spawn(command).await.map_err(failed)?;
        let pid = child.id().expect("nobody has waited for it") as i32;
        let output_max = limits.npm_output_bytes_max;
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let ended = {
            let output = async { futures::join!(read_end(stdout, output_max), read_end(stderr, output_max)) };
            tokio::select! {
                (_, text) = output => Ok(text),
                error = until_too_large(work, packages, limits) => Err(error),
                () = tokio::time::sleep(Duration::from_millis(limits.install_ms_max)) => {
                    Err(PackagesError::TooSlow { packages: packages.to_owned(), limit_ms: limits.install_ms_max })
                }
            }
        };
        if ended.is_err() {
            let home = work.to_owned();
            let end = tokio::task::spawn_blocking(move || family::end_all(pid, &home));
            end.await.expect("a panic ends the process");
        }
        let status = child.wait().await.map_err(failed)?;
        let text = ended?;
        if !status.success() {
            return Err(PackagesError::NotInstalled {
                packages: packages.to_owned(),
                reason: reason_of(&text),
            });
        }
        match is_too_large(work, limits).await {
            true => Err(too_large(packages, limits)),
            false => Ok(()),
        }
    }
}

/// How often the size of packages is looked at that are being installed.
const SIZE_INTERVAL: Duration = Duration::from_millis(250);

async fn until_too_large(folder: &Path, packages: &str, limits: &NodeLimits) -> PackagesError {
    loop {
        tokio::time::sleep(SIZE_INTERVAL).await;
        if is_too_large(folder, limits).await {
            return too_large(packages, limits);
        }
    }
}

async fn is_too_large(folder: &Path, limits: &NodeLimits) -> bool {
    let folder = folder.to_owned();
    let bytes =
        tokio::task::spawn_blocking(move || size_of(&folder)).await.expect("a panic ends the process");
    bytes > limits.packages_bytes_max as u64
}

fn too_large(packages: &str, limits: &NodeLimits) -> PackagesError {
    PackagesError::TooLarge { packages: packages.to_owned(), limit_bytes: limits.packages_bytes_max }
}

/// Bytes in a folder. What goes meanwhile is not counted.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() { size_of(&entry.path()) } else { metadata.len() })
        })
        .sum()
}

/// The last bytes of what is written.
async fn read_end(mut from: impl AsyncRead + Unpin, bytes_max: usize) -> String {
    let mut text = Vec::new();
    let mut part = vec![0; 8 << 10];
    while let Ok(read @ 1..) = from.read(&mut part).await {
        text.extend_from_slice(&part[..read]);
        let surplus = text.len().saturating_sub(bytes_max);
        text.drain(..surplus);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What npm says, without where it keeps its own log.
fn reason_of(output: &str) -> String {
    let lines = output.lines().map(|line| line.strip_prefix("npm error ").unwrap_or(line).trim());
    let mut kept: Vec<&str> = lines
        .filter(|line| {
            !line.is_empty() && !line.starts_with("A complete log of this run") && !line.contains("/_logs/")
        })
        .collect();
    kept.dedup();
    if kept.is_empty() { "it does not say why".to_owned() } else { kept.join("\n") }
}

fn names(packages: &[NodePackage]) -> String {
    packages
        .iter()
        .map(|NodePackage { name, version }| format!("{name}@{version}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Never an address, a path or an option.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-', '_'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    name.len() <= 214
        && match name.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
            None => is_part(name),
            Some(parts) => parts.is_some_and(|(scope, name)| is_part(scope) && is_part(name)),
        }
}

/// Three numbers, and what may follow them.
fn is_exact_version(version: &str) -> bool {
    let (numbers, rest) = match version.find(['-', '+']) {
        Some(at) => version.split_at(at),
        None => (version, ""),
    };
    let numbers: Vec<&str> = numbers.split('.').collect();
    version.len() <= 256
        && numbers.len() == 3
        && numbers.iter().all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.+".contains(&byte))
}

/// Writes a file that is whole or not there.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_added_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, folder = %folder.display(), "what npm has left can't be removed");
        }
        _ => {}
    }
}

fn io_failed(error: &io::Error) -> PackagesError {
    PackagesError::Service(Error::internal(format!("keep packages of Node.js actions: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodejs_packages_come_from_a_registry_in_exact_versions() {
        for name in ["sharp", "@aws-sdk/client-s3", "JSONStream", "lodash.merge"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "../x", "@scope", "@/x", "--registry=x", "git+ssh://x", "a b", "@a/b/c"] {
            assert!(!is_name(name), "{name}");
        }
        for version in ["1.2.3", "1.0.0-beta.1+build"] {
            assert!(is_exact_version(version), "{version}");
        }
        for version in ["", "^1.2.3", "1.2", "latest", "file:../x", "1.2.3 || 2", "http://x/1.2.3", "1..3"] {
            assert!(!is_exact_version(version), "{version}");
        }
    }

    #[test]
    fn nodejs_packages_are_named_by_their_lock_and_their_version_of_node() {
        let lock = Lock::from_text("{}".to_owned());
        assert_eq!(lock.id(NodeVersion::V22), Lock::from_text("{}".to_owned()).id(NodeVersion::V22));
        assert_ne!(lock.id(NodeVersion::V22), lock.id(NodeVersion::V24));
        assert_ne!(lock.id(NodeVersion::V22), Lock::from_text("{ }".to_owned()).id(NodeVersion::V22));
    }

    #[test]
    fn what_nodejs_npm_says_is_kept_without_its_log() {
        let output = "npm error code E404\nnpm error 404 Not Found\nnpm error A complete log of this run can be found in: /x/_logs/1.log\n";
        assert_eq!(reason_of(output), "code E404\n404 Not Found");
    }
}
