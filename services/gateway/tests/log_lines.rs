//! What the log says of a request that fails: which deployment it was for, and which request it was.

use std::{collections::BTreeMap, io::Write, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use auth::AuthLimits;
use contract::{
    ActionOutcome, ActiveSyncs, Archives, AuditEntry, AuditPage, CreatedLogStream, DataSync, DeltasRequest,
    Deploy, DeployedCode, Deployment, DeploymentId, DeploymentKind, DeploymentRef, Deployments, Directory,
    DirectoryEntry, Door, Error, Evaluation, EvaluationRequest, Fanout, FanoutSession, FileName, FileUpload,
    Files, FinishPush, FunctionCall, FunctionKind, FunctionLogPage, GroupId, HttpAnswer, HttpCall, JobsOf,
    KeyOwner, LogStreams, MutationCall, MutationOutcome, NewDeployment, NewExport, NewFile, NewImport,
    NewKey, NodeEvaluation, NodeEvaluationRequest, ObjectBytes, PartUpload, Position, Push, PushDifference,
    QueryCall, QueryOutcome, Result, Runner, Schedules, SchemaDifference, SchemaEvaluation, SchemaId,
    SchemaProgress, SchemasRequest, Sequencer, SessionStart, SnapshotPage, SnapshotRequest, StartedPush,
    StoredExport, StoredFile, StreamedRecord, SyncPage, SyncRequest, VariableChange,
};
use futures::{SinkExt as _, StreamExt as _};
use gateway::{
    Dependencies, GatewayLimits, GrpcLimits, Limits, Listeners, Options, Service, Services, SyncLimits,
};
use parking_lot::Mutex;
use proto::deployment::v1::{QueryRequest, deployment_client::DeploymentClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tonic::Code;

const DEPLOYMENT: DeploymentRef = DeploymentRef { group: GroupId(3), deployment: DeploymentId(7) };

/// Services of which nothing works, and the request ids that they were called with.
#[derive(Default)]
struct Broken {
    request_ids: Mutex<Vec<String>>,
}

impl Broken {
    fn fails<T>(&self, call: &FunctionCall) -> Result<T> {
        self.request_ids.lock().push(call.request_id.clone());
        Err(broken())
    }
}

fn broken() -> Error {
    Error::internal("it is broken")
}

#[async_trait]
impl Directory for Broken {
    async fn set_url(&self, _: DeploymentRef, _: Door, _: Option<&str>) -> Result<()> {
        Err(broken())
    }

    fn deployments(&self) -> watch::Receiver<Arc<Deployments>> {
        let (cloud_url, site_url) = ("http://x".to_owned(), String::new());
        Deployment::fixed([Deployment {
            reference: DEPLOYMENT,
            name: "some".to_owned(),
            cloud_url,
            site_url,
        }])
    }

    async fn create(&self, _: NewDeployment) -> Result<Arc<DirectoryEntry>> {
        Err(broken())
    }

    async fn delete(&self, _: &str) -> Result<()> {
        Err(broken())
    }

    async fn claim_preview(&self, _: &str, _: &str, _: bool) -> Result<(Arc<DirectoryEntry>, bool)> {
        Err(broken())
    }

    async fn provision(&self, _: &str, _: DeploymentKind) -> Result<Arc<DirectoryEntry>> {
        Err(broken())
    }

    async fn pushed(&self, _: DeploymentRef) -> Result<()> {
        Err(broken())
    }

    async fn create_key(&self, _: NewKey) -> Result<String> {
        Err(broken())
    }

    async fn delete_key(&self, _: KeyOwner, _: &str) -> Result<()> {
        Err(broken())
    }
}

#[async_trait]
impl Runner for Broken {
    async fn query(&self, call: QueryCall) -> Result<QueryOutcome> {
        self.fails(&call.function)
    }

    async fn mutation(&self, call: MutationCall) -> Result<MutationOutcome> {
        self.fails(&call.function)
    }

    async fn action(&self, call: FunctionCall) -> Result<ActionOutcome> {
        self.fails(&call)
    }

    async fn http_action(&self, _: HttpCall) -> Result<HttpAnswer> {
        Err(broken())
    }

    async fn kind(&self, call: &FunctionCall) -> Result<Option<FunctionKind>> {
        self.fails(call)
    }

    async fn inline_query(&self, _: QueryCall, _: Arc<str>) -> Result<QueryOutcome> {
        Err(broken())
    }

    async fn evaluate(&self, _: EvaluationRequest) -> Result<Evaluation> {
        Err(broken())
    }

    async fn evaluate_node(&self, _: NodeEvaluationRequest) -> Result<NodeEvaluation> {
        Err(broken())
    }

    async fn function_log(&self, _: DeploymentRef, _: u64, _: Duration) -> Result<FunctionLogPage> {
        Err(broken())
    }
}

#[async_trait]
impl Fanout for Broken {
    async fn open(&self, _: SessionStart) -> Result<FanoutSession> {
        let (commands, mut taken) = tokio::sync::mpsc::channel(1);
        let (sending, rounds) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while taken.recv().await.is_some() {}
            drop(sending);
        });
        Ok(FanoutSession { commands, rounds })
    }
}

#[async_trait]
impl Sequencer for Broken {
    async fn latest(&self, _: GroupId) -> Result<Position> {
        Err(broken())
    }
}

#[async_trait]
impl Deploy for Broken {
    async fn deployed_code(&self, _: DeploymentRef) -> Result<DeployedCode> {
        Err(broken())
    }

    async fn auth_providers(&self, _: DeploymentRef) -> Result<Arc<str>> {
        Err(broken())
    }

    async fn environment_variables(&self, _: DeploymentRef) -> Result<BTreeMap<String, String>> {
        Err(broken())
    }

    async fn update_environment_variables(&self, _: DeploymentRef, _: Vec<VariableChange>) -> Result<()> {
        Err(broken())
    }

    async fn evaluate_push(&self, _: DeploymentRef, _: Push) -> Result<SchemaDifference> {
        Err(broken())
    }

    async fn evaluate_schema(&self, _: DeploymentRef, _: Push) -> Result<SchemaEvaluation> {
        Err(broken())
    }

    async fn start_push(&self, _: DeploymentRef, _: Push) -> Result<StartedPush> {
        Err(broken())
    }

    async fn wait_for_schema(
        &self,
        _: DeploymentRef,
        _: BTreeMap<String, SchemaId>,
        _: Duration,
    ) -> Result<SchemaProgress> {
        Err(broken())
    }

    async fn finish_push(&self, _: DeploymentRef, _: FinishPush) -> Result<PushDifference> {
        Err(broken())
    }

    async fn delete_component(&self, _: DeploymentRef, _: &str) -> Result<()> {
        Err(broken())
    }
}

#[async_trait]
impl Files for Broken {
    async fn begin(&self, _: NewFile) -> Result<Box<dyn FileUpload>> {
        Err(broken())
    }

    async fn find(&self, _: FileName) -> Result<Option<StoredFile>> {
        Err(broken())
    }

    async fn read(&self, _: &StoredFile, _: Range<u64>) -> Result<ObjectBytes> {
        Err(broken())
    }
}

#[async_trait]
impl Schedules for Broken {
    async fn cancel(&self, _: JobsOf, _: &str) -> Result<()> {
        Err(broken())
    }

    async fn cancel_all(&self, _: JobsOf, _: Option<&str>) -> Result<u64> {
        Err(broken())
    }
}

#[async_trait]
impl Archives for Broken {
    async fn start_upload(&self, _: DeploymentRef) -> Result<String> {
        Err(broken())
    }

    async fn begin_part(&self, _: DeploymentRef, _: &str, _: u32) -> Result<Box<dyn PartUpload>> {
        Err(broken())
    }

    async fn finish_upload(&self, _: DeploymentRef, _: &str, _: Vec<String>, _: NewImport) -> Result<String> {
        Err(broken())
    }

    async fn add_primary_key_indexes(
        &self,
        _: DeploymentRef,
        _: BTreeMap<String, Vec<Vec<String>>>,
    ) -> Result<()> {
        Err(broken())
    }

    async fn primary_key_indexes_ready(&self, _: DeploymentRef, _: Vec<String>) -> Result<bool> {
        Err(broken())
    }

    async fn import_records(
        &self,
        _: DeploymentRef,
        _: BTreeMap<String, Option<Vec<Vec<String>>>>,
        _: Vec<StreamedRecord>,
    ) -> Result<()> {
        Err(broken())
    }

    async fn clear_tables(&self, _: DeploymentRef, _: Vec<String>) -> Result<()> {
        Err(broken())
    }

    async fn perform_import(&self, _: DeploymentRef, _: &str) -> Result<Option<NewImport>> {
        Err(broken())
    }

    async fn cancel_import(&self, _: DeploymentRef, _: &str) -> Result<()> {
        Err(broken())
    }

    async fn request_export(&self, _: DeploymentRef, _: NewExport) -> Result<()> {
        Err(broken())
    }

    async fn cancel_export(&self, _: DeploymentRef, _: &str) -> Result<()> {
        Err(broken())
    }

    async fn set_export_expiration(&self, _: DeploymentRef, _: &str, _: u64) -> Result<()> {
        Err(broken())
    }

    async fn find_export(&self, _: DeploymentRef, _: &str) -> Result<Option<StoredExport>> {
        Err(broken())
    }

    async fn read_export(&self, _: &StoredExport) -> Result<ObjectBytes> {
        Err(broken())
    }
}

#[async_trait]
impl DataSync for Broken {
    async fn list_snapshot(&self, _: DeploymentRef, _: SnapshotRequest) -> Result<SnapshotPage> {
        Err(broken())
    }

    async fn document_deltas(&self, _: DeploymentRef, _: DeltasRequest) -> Result<SnapshotPage> {
        Err(broken())
    }

    async fn json_schemas(&self, _: DeploymentRef, _: SchemasRequest) -> Result<String> {
        Err(broken())
    }

    async fn sync(&self, _: DeploymentRef, _: SyncRequest) -> Result<SyncPage> {
        Err(broken())
    }

    async fn active_syncs(&self, _: DeploymentRef, _: Option<String>, _: usize) -> Result<ActiveSyncs> {
        Err(broken())
    }
}

#[async_trait]
impl LogStreams for Broken {
    async fn create(&self, _: DeploymentRef, _: &str) -> Result<CreatedLogStream> {
        Err(broken())
    }

    async fn update(&self, _: DeploymentRef, _: &str, _: &str) -> Result<String> {
        Err(broken())
    }

    async fn delete(&self, _: DeploymentRef, _: &str) -> Result<String> {
        Err(broken())
    }

    async fn list(&self, _: DeploymentRef) -> Result<Vec<String>> {
        Err(broken())
    }

    async fn get(&self, _: DeploymentRef, _: &str) -> Result<String> {
        Err(broken())
    }

    async fn rotate_webhook_secret(&self, _: DeploymentRef, _: &str) -> Result<String> {
        Err(broken())
    }

    async fn audit(&self, _: DeploymentRef, _: AuditEntry) -> Result<()> {
        Err(broken())
    }

    async fn audit_log(&self, _: DeploymentRef, _: u64, _: Option<String>, _: usize) -> Result<AuditPage> {
        Err(broken())
    }
}

/// Takes what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn take_lines(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock());
        String::from_utf8(bytes).expect("it is text").lines().map(str::to_owned).collect()
    }
}

/// Everything runs on the test's thread, so that what is logged for it is its own.
#[tokio::test]
async fn every_line_about_a_failing_request_names_its_deployment_and_the_request() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        // Only errors are wanted, and yet the lines say whom they are about.
        .with_max_level(tracing::Level::ERROR)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let broken = Arc::new(Broken::default());
    let services = Services {
        runner: broken.clone(),
        fanout: broken.clone(),
        sequencer: broken.clone(),
        deploy: broken.clone(),
        files: broken.clone(),
        archives: broken.clone(),
        schedules: broken.clone(),
        directory: broken.clone(),
        data_sync: broken.clone(),
        log_streams: broken.clone(),
    };
    let [api, site, grpc] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let (api, site) = (api.await.expect("a port"), site.await.expect("a port"));
    let grpc = grpc.await.expect("a port");
    let address = api.local_addr().expect("an address");
    let grpc_address = grpc.local_addr().expect("an address");
    let options = Options {
        operator_key: "operator".to_owned(),
        team: "team".to_owned(),
        limits: Limits {
            gateway: GatewayLimits::DEFAULT,
            grpc: GrpcLimits::DEFAULT,
            sync: SyncLimits::DEFAULT,
            auth: AuthLimits::DEFAULT,
            slot_wait_ms_max: 10_000,
            session_queries_max: 10,
            file_bytes_max: 1,
            http_request_bytes_max: 1,
        },
    };
    let shutdown = CancellationToken::new();
    let http = egress::Client::new(Default::default(), Default::default());
    let listeners = Listeners { api, site, grpc: Some(grpc), tls: None };
    let dependencies = Dependencies { services, http, is_ready: Arc::new(|| true), listeners };
    let gateway = Service::start(options, dependencies, shutdown.clone());

    let assert_logged = || {
        let request_id = broken.request_ids.lock().pop().expect("it was called");
        let lines = log.take_lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in ["it is broken", "deployment=3/7", &format!("request_id=\"{request_id}\"")] {
            assert!(lines[0].contains(part), "{part} is not in: {}", lines[0]);
        }
    };

    // A call over HTTP.
    let body = r#"{"path":"a:b","args":{}}"#;
    let mut connection = TcpStream::connect(address).await.expect("it is accepted");
    let request = format!(
        "POST /api/query HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it is answered");
    assert!(answer.starts_with("HTTP/1.1 500 ") && !answer.contains("broken"), "{answer}");
    assert_logged();

    // A call over gRPC.
    let mut client =
        DeploymentClient::connect(format!("http://{grpc_address}")).await.expect("it is accepted");
    let call = proto::deployment::v1::FunctionCall { path: "a:b".to_owned(), ..Default::default() };
    let status = client.query(QueryRequest { call: Some(call), at_timestamp: None }).await;
    let status = status.expect_err("nothing works");
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("broken"), "{status}");
    assert_logged();

    // A mutation of a session, which is a request of its own.
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/api/1.48.0/sync"))
        .await
        .expect("it is upgraded");
    let connect =
        r#"{"type":"Connect","sessionId":"eeb94f97-40d8-452f-a084-186fa8178e4e","connectionCount":0}"#;
    let mutation = r#"{"type":"Mutation","requestId":0,"udfPath":"a:b","args":[{}]}"#;
    for message in [connect, mutation] {
        socket.send(Message::text(message)).await.expect("it is open");
    }
    let closed = loop {
        match socket.next().await.expect("it is answered").expect("a frame") {
            Message::Ping(_) => {}
            other => break other,
        }
    };
    assert!(matches!(&closed, Message::Close(Some(frame)) if u16::from(frame.code) == 1011), "{closed:?}");
    assert_logged();

    drop((socket, client));
    shutdown.cancel();
    gateway.stopped().await;
}
