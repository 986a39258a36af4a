//! Packages, from a registry on this machine.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::Engine as _;
use contract::{ModuleSource, NodePackage};
use fair_queue::Shares;
use nodejs::{AnalysisRequest, Call, CodeId, Executor, Lock, NodeVersion, PackagesError};
use serde_json::json;
use sha2::{Digest as _, Sha512};
use tokio_util::sync::CancellationToken;

use crate::harness::{DEPLOYMENT, Host, call, modules, options};

/// A registry with packages `outer` (which needs `inner`, and wants to run a script) and `large`.
struct Registry {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Registry {
    fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it has one"));
        let mut answers = HashMap::new();
        let outer = json!({
            "dependencies": {"inner": "^1.0.0"},
            "scripts": {"postinstall": "echo ran > ran.txt"},
        });
        add(&mut answers, &url, "outer", "2.0.1", outer, "module.exports = `outer and ${require('inner')}`;");
        add(&mut answers, &url, "inner", "1.4.0", json!({}), "module.exports = 'inner';");
        let large = format!("module.exports = '{}';", "x".repeat(3 << 20));
        add(&mut answers, &url, "large", "1.0.0", json!({}), &large);
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                counted.fetch_add(1, Ordering::Relaxed);
                let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or_default();
                let (status, body) = match answers.get(path) {
                    Some(body) => ("200 OK", body.as_slice()),
                    None => ("404 Not Found", b"{}".as_slice()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        Registry { url, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn add(
    answers: &mut HashMap<String, Vec<u8>>,
    url: &str,
    name: &str,
    version: &str,
    mut manifest: serde_json::Value,
    source: &str,
) {
    manifest["name"] = json!(name);
    manifest["version"] = json!(version);
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("package");
    fs::create_dir(&package).expect("made");
    fs::write(package.join("package.json"), manifest.to_string()).expect("written");
    fs::write(package.join("index.js"), source).expect("written");
    let packed =
        Command::new("tar").args(["czf", "-", "package"]).current_dir(&folder).output().expect("tar").stdout;
    let integrity =
        format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&packed)));
    let path = format!("/{name}/-/{name}-{version}.tgz");
    if manifest["scripts"].is_object() {
        manifest["hasInstallScript"] = json!(true);
    }
    manifest["dist"] = json!({"tarball": format!("{url}{path}"), "integrity": integrity});
    let document = json!({"name": name, "dist-tags": {"latest": version}, "versions": {version: manifest}});
    answers.insert(format!("/{name}"), document.to_string().into_bytes());
    answers.insert(path, packed);
}

fn package(name: &str, version: &str) -> NodePackage {
    NodePackage { name: name.to_owned(), version: version.to_owned() }
}

async fn executor(
    folder: &Path,
    registry: &str,
    change: impl FnOnce(&mut nodejs::Options),
) -> (Executor, CancellationToken) {
    let mut options = options(folder);
    options.registry = Some(registry.to_owned());
    change(&mut options);
    let shutdown = CancellationToken::new();
    (Executor::start(options, Shares::default(), shutdown.clone()).await.expect("it starts"), shutdown)
}

async fn stop((executor, shutdown): (Executor, CancellationToken)) {
    shutdown.cancel();
    executor.stopped().await;
}

const VERSION: NodeVersion = NodeVersion::V22;

#[tokio::test]
async fn packages_are_installed_by_their_lock_without_their_scripts_and_then_without_the_registry() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().expect("a folder");
    let running = executor(folder.path(), &registry.url, |_| {}).await;
    let lock = running.0.lock(&[package("outer", "2.0.1")], VERSION).await.expect("it is found");
    assert!(lock.text().contains("\"1.4.0\"") && lock.text().contains("sha512-"), "{}", lock.text());
    assert!(!lock.text().contains(&registry.url), "it holds wherever packages come from: {}", lock.text());
    let id = running.0.install(&lock, VERSION).await.expect("it is installed");
    let installed = folder.path().join("packages/installed").join(id.as_str()).join("node_modules");
    assert!(!installed.join("outer/ran.txt").exists(), "no script has run");

    let mut changed = modules();
    changed.push(ModuleSource {
        path: "uses.js".to_owned(),
        source: "import outer from \"outer\";\nimport { action } from \"./_deps/node/LIBRARY.js\";\n\
                 export const use = action(async () => outer);"
            .into(),
        source_map: None,
    });
    let request = AnalysisRequest {
        deployment: DEPLOYMENT,
        modules: changed.clone(),
        packages: Some(id.clone()),
        version: VERSION,
        environment: Arc::default(),
    };
    assert_eq!(running.0.analyze(request).await.expect("it is analysed").len(), 2);
    let call = Call {
        code: CodeId::of(&changed),
        packages: Some(id.clone()),
        module: "uses.js".to_owned(),
        ..call("use", json!({}))
    };
    let outcome = running.0.run(&call, Host::with_modules(changed), None).await.expect("it is run");
    assert_eq!(outcome.expect("a result"), "\"outer and inner\"");

    // What is there is not asked for again, and what is gone is installed again from the cache.
    let asked = registry.requests();
    assert_eq!(running.0.lock(&[package("outer", "2.0.1")], VERSION).await, Ok(lock.clone()));
    assert_eq!(running.0.install(&lock, VERSION).await, Ok(id.clone()));
    stop(running).await;
    fs::remove_dir_all(folder.path().join("packages/installed")).expect("removed");
    let offline = executor(folder.path(), &registry.url, |_| {}).await;
    assert_eq!(offline.0.install(&Lock::from_text(lock.text().to_owned()), VERSION).await, Ok(id));
    assert_eq!(registry.requests(), asked);
    stop(offline).await;
}

#[tokio::test]
async fn an_operator_can_let_packages_run_their_scripts() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().expect("a folder");
    let running = executor(folder.path(), &registry.url, |options| options.install_scripts = true).await;
    let lock = running.0.lock(&[package("outer", "2.0.1")], VERSION).await.expect("it is found");
    let id = running.0.install(&lock, VERSION).await.expect("it is installed");
    let outer = folder.path().join("packages/installed").join(id.as_str()).join("node_modules/outer");
    assert!(outer.join("ran.txt").exists());
    stop(running).await;
}

#[tokio::test]
async fn packages_that_can_not_be_had_are_named() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().expect("a folder");
    let running = executor(folder.path(), &registry.url, |options| {
        options.limits.packages_bytes_max = 1 << 20;
        options.limits.packages_max = 2;
    })
    .await;
    let refusal = async |packages: &[NodePackage]| {
        contract::Error::from(running.0.lock(packages, VERSION).await.expect_err("refused"))
    };
    for (name, version) in [("nowhere", "1.0.0"), ("outer", "9.9.9")] {
        let error = refusal(&[package(name, version)]).await;
        assert_eq!(&*error.code, "NodePackagesNotInstalled");
        assert!(error.message.contains(&format!("{name}@{version}")), "{error}");
    }
    assert_eq!(&*refusal(&[package("file:../x", "1.0.0")]).await.code, "InvalidNodePackage");
    assert_eq!(&*refusal(&vec![package("outer", "2.0.1"); 3]).await.code, "TooManyNodePackages");
    let lock = running.0.lock(&[package("large", "1.0.0")], VERSION).await.expect("it is found");
    let error = running.0.install(&lock, VERSION).await.expect_err("it is too large");
    assert_eq!(error, PackagesError::TooLarge { packages: "large".to_owned(), limit_bytes: 1 << 20 });
    let left: Vec<_> = fs::read_dir(folder.path().join("packages"))
        .expect("there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("new-")), "{left:?}");
    stop(running).await;
}

#[tokio::test]
async fn an_installation_that_takes_too_long_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it has one"));
    let folder = tempfile::tempdir().expect("a folder");
    let running = executor(folder.path(), &url, |options| options.limits.install_ms_max = 2_000).await;
    let error = running.0.lock(&[package("outer", "2.0.1")], VERSION).await.expect_err("nobody answers");
    assert_eq!(error, PackagesError::TooSlow { packages: "outer@2.0.1".to_owned(), limit_ms: 2_000 });
    stop(running).await;
}
