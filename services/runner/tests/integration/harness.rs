//! A runner on a real log and a real blob store in a temporary folder, with code that is pushed by writing its rows.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use contract::{
    ActionOutcome, BlobStore, Caller, CommitId, CommitOutcome, Deployment, DeploymentId, DeploymentRef,
    Evaluation, EvaluationRequest, Files, FunctionCall, FunctionError, GroupId, Identity, ModuleSource,
    MutationCall, MutationOutcome, NodeEvaluation, NodeEvaluationRequest, NodePackages, ObjectStore,
    Position, QueryCall, QueryOutcome, ReadAt, ReadMoment, Requester, Runner as _, Sequencer, SessionRequest,
    Timestamp, TransactionLog, UserIdentity,
};
use isolate::Engine;
use runner::{ActionLimits, FunctionLimits, FunctionLogLimits, Limits, Options};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use system_transaction::SystemTransactions;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};
use transaction::{
    CatalogCache, CursorKey, EnvironmentVariableRow, ModuleEnvironment, ModuleRow, NodeConfig, Transaction,
    UdfConfigRow,
};
use value::ComponentId;

pub const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(1), deployment: DeploymentId(1) };

/// Everything that runs, until it is dropped.
pub struct Harness {
    pub runner: runner::Handle,
    pub log: Arc<dyn TransactionLog>,
    pub catalogs: Arc<CatalogCache>,
    sequencer: Arc<dyn Sequencer>,
    blobs: Arc<dyn BlobStore>,
    cursor_key: CursorKey,
    shutdown: CancellationToken,
    start: (Options, runner::Dependencies),
    runner_service: runner::Service,
    service: txlog::Service,
    folder: TempDir,
}

/// The limits of a runner that a test does not change.
const LIMITS: Limits = Limits {
    function: FunctionLimits::DEFAULT,
    action: ActionLimits::DEFAULT,
    transaction: transaction::Limits::DEFAULT,
    function_log: FunctionLogLimits { entries_max: 10_000, bytes_max: 64 << 20 },
    read_wait_ms_max: 2_000,
};

impl Harness {
    /// With all test modules pushed.
    pub async fn start() -> Harness {
        Harness::with(|_| ()).await
    }

    /// With all test modules pushed, and other options.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Harness {
        let harness = Harness::empty(change).await;
        harness.push(&modules()).await;
        harness
    }

    /// With all test modules pushed, and a runner that sees the log through something else.
    pub async fn behind(see: impl FnOnce(Arc<dyn TransactionLog>) -> Arc<dyn TransactionLog>) -> Harness {
        Harness::behind_with(|_| (), see).await
    }

    /// The same with other options.
    pub async fn behind_with(
        change: impl FnOnce(&mut Options),
        see: impl FnOnce(Arc<dyn TransactionLog>) -> Arc<dyn TransactionLog>,
    ) -> Harness {
        let harness = Harness::build(change, see).await;
        harness.push(&modules()).await;
        harness
    }

    /// With nothing pushed.
    pub async fn empty(change: impl FnOnce(&mut Options)) -> Harness {
        Harness::build(change, |log| log).await
    }

    async fn build(
        change: impl FnOnce(&mut Options),
        see: impl FnOnce(Arc<dyn TransactionLog>) -> Arc<dyn TransactionLog>,
    ) -> Harness {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shutdown = CancellationToken::new();
        let options = txlog::Options::embedded(folder.path().join("log"));
        let service = txlog::Service::start(options, shutdown.child_token()).await.expect("the log starts");
        let log: Arc<dyn TransactionLog> = Arc::new(service.handle());
        let dependencies = sequencer::Dependencies { log: Arc::clone(&log) };
        let sequencer = sequencer::Service::start(dependencies, CancellationToken::new());
        let sequencer: Arc<dyn Sequencer> = Arc::new(sequencer.handle());
        let options_of_blobs = blob::Options { folder: folder.path().join("blobs"), is_shared: false };
        let blobs = blob::Service::start(options_of_blobs, CancellationToken::new()).await;
        let blobs = blobs.expect("the blob store opens").handle();
        let objects: Arc<dyn ObjectStore> = Arc::new(blobs.clone());
        let blobs: Arc<dyn BlobStore> = Arc::new(blobs);
        let transactions = SystemTransactions::new(
            see(Arc::clone(&log)),
            Arc::clone(&sequencer),
            1 << 20,
            &[7; 32],
            LIMITS.transaction,
        );
        let catalogs = Arc::clone(&transactions.catalogs);
        let cursor_key = transactions.cursor_key.clone();
        let clock = runner::Clock::new(SystemTime::now);
        let http = egress::Client::new(egress::Policy::default(), egress::EgressLimits::DEFAULT);
        let of_files = files::Options { limits: files::FileLimits::DEFAULT, swept: Deployment::fixed([]) };
        let dependencies = files::Dependencies { transactions: transactions.clone(), objects };
        let files_service = files::Service::start(of_files, dependencies, shutdown.child_token());
        let files: Arc<dyn Files> = Arc::new(files_service.handle());
        let deployment = Deployment {
            reference: DEPLOYMENT,
            name: "dev".to_owned(),
            cloud_url: "http://127.0.0.1:3210".to_owned(),
            site_url: "http://127.0.0.1:3211".to_owned(),
        };
        let deployments = Deployment::fixed([deployment]);
        let of_search = search::Options {
            limits: search::SearchLimits::DEFAULT,
            deployments: deployments.clone(),
            folder: folder.path().join("search"),
        };
        // What it reads of the log is not the runner's.
        let transactions_of_search = SystemTransactions { log: Arc::clone(&log), ..transactions.clone() };
        let dependencies = search::Dependencies { transactions: transactions_of_search };
        let search_service = search::Service::start(of_search, dependencies, shutdown.child_token());
        let search = Arc::new(search_service.handle());
        let dependencies =
            runner::Dependencies { transactions, blobs: Arc::clone(&blobs), files, http, search, clock };
        let mut options = Options::new(LIMITS, deployments);
        change(&mut options);
        let start = (options, dependencies);
        let runner_service = start_runner(&start, shutdown.child_token());
        let runner = runner_service.handle();
        Harness {
            runner,
            start,
            log,
            catalogs,
            sequencer,
            blobs,
            cursor_key,
            shutdown,
            runner_service,
            service,
            folder,
        }
    }

    /// Changes every blob behind the store's back, so that none can be read.
    pub fn damage_blobs(&self) {
        let folders = std::fs::read_dir(self.folder.path().join("blobs")).expect("it lists");
        for folder in folders {
            for blob in std::fs::read_dir(folder.expect("it lists").path()).expect("it lists") {
                std::fs::write(blob.expect("it lists").path(), b"damaged").expect("it is damaged");
            }
        }
    }

    /// Another runner on the same log, as after another start of the process. Cancelling the token ends it.
    pub fn another_runner(&self) -> (runner::Service, CancellationToken) {
        let token = self.shutdown.child_token();
        (start_runner(&self.start, token.clone()), token)
    }

    /// Another runner on the same log with other options.
    pub fn another_runner_with(
        &self,
        change: impl FnOnce(&mut Options),
    ) -> (runner::Service, CancellationToken) {
        let (mut options, dependencies) = self.start.clone();
        change(&mut options);
        let token = self.shutdown.child_token();
        (start_runner(&(options, dependencies), token.clone()), token)
    }

    /// Another runner on the same log that has its own runtime. When that is shut down, all that the runner does stops where it
    /// is, as when a process is killed.
    pub fn mortal_runner(&self) -> (runner::Handle, Runtime) {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = {
            let _entered = runtime.enter();
            start_runner(&self.start, CancellationToken::new()).handle()
        };
        (handle, runtime)
    }

    /// Ends everything when it is dropped.
    pub fn ends(&self) -> DropGuard {
        self.shutdown.clone().drop_guard()
    }

    /// Ends everything in order, which must not hang.
    pub async fn stop(self) {
        let Harness { runner_service, start, log, sequencer, shutdown, service, folder, .. } = self;
        shutdown.cancel();
        let ended = async {
            runner_service.stopped().await;
            drop((start, log, sequencer));
            service.stopped().await;
        };
        tokio::time::timeout(Duration::from_secs(120), ended).await.expect("everything ends");
        drop(folder);
    }

    /// Evaluates modules and writes the rows that serve them, as a push does.
    pub async fn push(&self, modules: &[ModuleSource]) -> Evaluation {
        let evaluation = self.evaluate(modules, BTreeMap::new()).await.expect("the modules can be evaluated");
        let rows = self.rows_of(modules, ModuleEnvironment::Isolate, &evaluation.modules).await;
        let config = UdfConfigRow {
            component: ComponentId::ROOT,
            server_version: "1.48.0".to_owned(),
            import_seed: evaluation.import_phase.seed,
            import_time_ms: evaluation.import_phase.time_ms,
            functions_directory: "convex/".to_owned(),
            code_hash: String::new(),
            node: NodeConfig::default(),
            http_prefix: None,
        };
        self.transact(async move |transaction| {
            write(transaction, &rows).await;
            match transaction.udf_config() {
                Some(old) => transaction.replace_row(old.id, &config).await.unwrap(),
                None => {
                    transaction.insert_row(&config).await.unwrap();
                }
            }
        })
        .await;
        evaluation
    }

    /// Evaluates modules for Node.js and writes the rows that serve them, beside those that are there.
    pub async fn push_for_node(&self, modules: &[ModuleSource]) -> NodeEvaluation {
        let request = NodeEvaluationRequest {
            deployment: DEPLOYMENT,
            modules: modules.to_vec(),
            environment_variables: BTreeMap::new(),
            version: None,
            packages: NodePackages::Wanted(Vec::new()),
        };
        let evaluation = self.runner.evaluate_node(request).await.expect("the modules can be evaluated");
        let rows = self.rows_of(modules, ModuleEnvironment::Node, &evaluation.modules).await;
        self.transact(async move |transaction| write(transaction, &rows).await).await;
        evaluation
    }

    async fn rows_of(
        &self,
        modules: &[ModuleSource],
        environment: ModuleEnvironment,
        analyses: &BTreeMap<String, Arc<str>>,
    ) -> Vec<ModuleRow> {
        let mut rows = Vec::new();
        for module in modules {
            let put =
                async |text: &str| self.blobs.put(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
            rows.push(ModuleRow {
                component: ComponentId::ROOT,
                path: module.path.clone(),
                environment,
                source: put(&module.source).await,
                source_map: match &module.source_map {
                    Some(map) => Some(put(map).await),
                    None => None,
                },
                hash: Sha256::digest(module.source.as_bytes()).into(),
                analysis: analyses.get(&module.path).cloned(),
                imports: modules
                    .iter()
                    .filter(|other| other.path.starts_with("_deps/") && !module.path.starts_with("_deps/"))
                    .map(|other| other.path.clone())
                    .collect(),
            });
        }
        rows
    }

    pub async fn set_environment_variable(&self, name: &str, value: &str) {
        let row = EnvironmentVariableRow {
            component: ComponentId::ROOT,
            name: name.to_owned(),
            value: value.to_owned(),
        };
        self.transact(async move |transaction| {
            transaction.insert_row(&row).await.unwrap();
        })
        .await;
    }

    pub async fn evaluate(
        &self,
        modules: &[ModuleSource],
        environment_variables: BTreeMap<String, String>,
    ) -> contract::Result<Evaluation> {
        let request = EvaluationRequest {
            deployment: DEPLOYMENT,
            modules: modules.to_vec(),
            schema: None,
            definition: None,
            definitions: BTreeMap::new(),
            component: String::new(),
            site_path: String::new(),
            environment_variables,
            import_phase: None,
        };
        self.runner.evaluate(request).await
    }

    /// A transaction beside the runner. It is not committed.
    pub async fn transaction(&self) -> (Transaction, Position) {
        let position = self.sequencer.latest(DEPLOYMENT.group).await.unwrap();
        let begin = ReadAt::published(position.published);
        let options = transaction::Options {
            limits: Arc::new(transaction::Limits::DEFAULT),
            id_seed: rand::random(),
            now_ns: 1,
            cursor_key: self.cursor_key.clone(),
            journal: None,
        };
        let log = Arc::clone(&self.log);
        let transaction = Transaction::begin(log, DEPLOYMENT, begin, &self.catalogs, options).await;
        (transaction.unwrap(), position)
    }

    /// Commits what `work` writes, beside the runner.
    pub async fn transact(&self, work: impl AsyncFnOnce(&mut Transaction)) -> Timestamp {
        let (mut transaction, position) = self.transaction().await;
        work(&mut transaction).await;
        let id = CommitId(rand::random());
        let commit = transaction.finish().into_commit(DEPLOYMENT, position.epoch, id);
        match self.log.commit(commit).await.unwrap() {
            CommitOutcome::Committed { timestamp } => timestamp,
            outcome => panic!("nothing else is running, but: {outcome:?}"),
        }
    }

    pub async fn run_query(&self, path: &str, arguments: Json) -> QueryOutcome {
        self.query_as(Identity::Anonymous, path, arguments).await
    }

    pub async fn query_as(&self, identity: Identity, path: &str, arguments: Json) -> QueryOutcome {
        let call = QueryCall {
            function: function_call(identity, path, arguments),
            at: ReadMoment::Latest,
            journal: None,
        };
        self.runner.query(call).await.expect("the query is answered")
    }

    /// The value of a query that must succeed.
    pub async fn value_of(&self, path: &str, arguments: Json) -> Json {
        parsed(self.run_query(path, arguments).await.result.expect("the query succeeds"))
    }

    pub async fn query_error(&self, path: &str, arguments: Json) -> FunctionError {
        self.run_query(path, arguments).await.result.expect_err("the query fails")
    }

    pub async fn run_mutation(&self, path: &str, arguments: Json) -> MutationOutcome {
        let outcome = self.mutation_in(None, path, arguments).await;
        outcome.expect("the mutation is answered")
    }

    pub async fn mutation_in(
        &self,
        session: Option<SessionRequest>,
        path: &str,
        arguments: Json,
    ) -> contract::Result<MutationOutcome> {
        let call = MutationCall {
            function: function_call(Identity::Anonymous, path, arguments),
            session,
            not_before: Timestamp::ZERO,
        };
        self.runner.mutation(call).await
    }

    /// The result of a mutation that must succeed.
    pub async fn result_of(&self, path: &str, arguments: Json) -> Json {
        parsed(self.run_mutation(path, arguments).await.result.expect("the mutation succeeds"))
    }

    pub async fn run_action(&self, path: &str, arguments: Json) -> contract::Result<ActionOutcome> {
        self.runner.action(function_call(Identity::Anonymous, path, arguments)).await
    }

    /// The result of an action that must succeed.
    pub async fn action_of(&self, path: &str, arguments: Json) -> Json {
        let outcome = self.run_action(path, arguments).await.expect("the action is answered");
        parsed(outcome.result.expect("the action succeeds"))
    }

    pub async fn action_error(&self, path: &str, arguments: Json) -> FunctionError {
        let outcome = self.run_action(path, arguments).await.expect("the action is answered");
        outcome.result.expect_err("the action fails")
    }

    pub async fn mutation_error(&self, path: &str, arguments: Json) -> FunctionError {
        let outcome = self.run_mutation(path, arguments).await;
        assert_eq!(outcome.timestamp, None, "a mutation that fails has no commit");
        outcome.result.expect_err("the mutation fails")
    }
}

fn start_runner(start: &(Options, runner::Dependencies), shutdown: CancellationToken) -> runner::Service {
    let (options, dependencies) = start.clone();
    runner::Service::start_with(engine(), options, dependencies, shutdown).expect("the runner starts")
}

/// Writes rows in place of those with the same paths.
async fn write(transaction: &mut Transaction, rows: &[ModuleRow]) {
    for row in rows {
        let old = transaction
            .rows::<ModuleRow>("by_component_and_path", &["".into(), row.path.as_str().into()])
            .await
            .unwrap();
        match old.first() {
            Some(old) => transaction.replace_row(old.id, row).await.unwrap(),
            None => {
                transaction.insert_row(row).await.unwrap();
            }
        }
    }
}

/// Loading it takes longer than most tests.
fn engine() -> Engine {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the engine loads"));
    ENGINE.clone()
}

pub fn function_call(identity: Identity, path: &str, arguments: Json) -> FunctionCall {
    FunctionCall {
        deployment: DEPLOYMENT,
        component: String::new(),
        path: path.to_owned(),
        arguments: format!("[{arguments}]").into(),
        identity,
        caller: Caller::HttpApi,
        requester: Requester::default(),
        request_id: "the-request".to_owned(),
    }
}

pub fn parsed(text: impl AsRef<str>) -> Json {
    serde_json::from_str(text.as_ref()).expect("results are JSON")
}

pub fn admin() -> Identity {
    Identity::Admin { key_name: "dev".to_owned(), acting_as: None }
}

pub fn user(subject: &str) -> Identity {
    let attributes = BTreeMap::from([("subject".to_owned(), format!("{subject:?}"))]);
    Identity::User(UserIdentity { attributes })
}

/// Where this package is, asked when the test runs: builds can be shared by several clones.
pub fn package_root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it").into()
}

/// The modules in the folder beside this file.
pub fn modules() -> Vec<ModuleSource> {
    let folder = package_root().join("tests/integration/modules");
    let mut modules = Vec::new();
    for part in ["", "_deps/"] {
        for entry in std::fs::read_dir(folder.join(part)).expect("the modules are there") {
            let entry = entry.expect("the folder can be read");
            if entry.file_type().expect("it has a type").is_file() {
                let name = entry.file_name().into_string().expect("names are ASCII");
                let source = std::fs::read_to_string(entry.path()).expect("modules are text");
                modules.push(module(&format!("{part}{name}"), &source));
            }
        }
    }
    modules.sort_by(|one, two| one.path.cmp(&two.path));
    modules
}

pub fn module(path: &str, source: &str) -> ModuleSource {
    ModuleSource { path: path.to_owned(), source: source.into(), source_map: None }
}
