//! What is heard on either side when the process on the other one is gone in the middle of something. Over loopback.

#[path = "support/loopback.rs"]
mod loopback;
#[allow(dead_code)]
mod support;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    ActionOutcome, BlobDigest, BlobStore, Caller, DeploymentRef, Error, ErrorKind, Evaluation,
    EvaluationRequest, Fanout, FanoutSession, FunctionCall, FunctionKind, FunctionLogPage, HttpAnswer,
    HttpCall, HttpResponse, Identity, MutationCall, MutationOutcome, NodeEvaluation, NodeEvaluationRequest,
    ObjectBytes, ObjectName, ObjectStore, ObjectSummary, ObjectWriter, QueryCall, QueryOutcome, ReadMoment,
    Requester, Result, Retry, Runner, SessionCommand, SessionRequest, SessionRound, SessionStart, Timestamp,
    code,
};
use futures::{StreamExt as _, stream};
use rpc::{
    BlobServer, FanoutServer, GrpcBlobs, GrpcFanout, GrpcRunner, RpcLimits, RunnerServer,
    TransactionLogServer,
};
use support::{DEV, Scripted, Wire, in_time, wire};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::transport::Channel;

/// Whoever is silent is found out soon, and on a busy machine nobody else.
const LIMITS: RpcLimits =
    RpcLimits { keep_alive_ms: 20, keep_alive_answer_ms_max: 500, ..RpcLimits::DEFAULT };

/// How many things go on at the moment.
#[derive(Clone, Default)]
struct GoingOn(watch::Sender<usize>);

struct One(GoingOn);

impl GoingOn {
    fn one(&self) -> One {
        self.0.send_modify(|count| *count += 1);
        One(self.clone())
    }

    async fn becomes(&self, count: usize) {
        in_time(self.0.subscribe().wait_for(|going_on| *going_on == count)).await.expect("it is here");
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

type Rounds = mpsc::Sender<Box<Result<SessionRound>>>;

/// Begins everything and ends nothing.
#[derive(Clone, Default)]
struct Endless {
    going_on: GoingOn,
    sessions: Arc<parking_lot::Mutex<Vec<Rounds>>>,
    finished: Arc<AtomicUsize>,
}

impl Endless {
    async fn never<T>(&self) -> Result<T> {
        let _one = self.going_on.one();
        std::future::pending().await
    }
}

#[async_trait]
impl Runner for Endless {
    async fn query(&self, _: QueryCall) -> Result<QueryOutcome> {
        self.never().await
    }
    async fn inline_query(&self, _: QueryCall, _: Arc<str>) -> Result<QueryOutcome> {
        self.never().await
    }
    async fn mutation(&self, _: MutationCall) -> Result<MutationOutcome> {
        self.never().await
    }
    async fn action(&self, _: FunctionCall) -> Result<ActionOutcome> {
        self.never().await
    }
    /// The first half of an answer, or, with a body, of its own body.
    async fn http_action(&self, call: HttpCall) -> Result<HttpAnswer> {
        let one = self.going_on.one();
        let first: HttpBodyPiece = Ok(Bytes::from_static(b"half"));
        let rest = match call.body {
            Some(body) => body,
            None => stream::pending().boxed(),
        };
        let body = stream::iter([first]).chain(rest).map(move |piece| {
            let _one = &one;
            piece
        });
        Ok(HttpAnswer::Response(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body_bytes: None,
            body: body.boxed(),
        }))
    }
    async fn kind(&self, _: &FunctionCall) -> Result<Option<FunctionKind>> {
        self.never().await
    }
    async fn evaluate(&self, _: EvaluationRequest) -> Result<Evaluation> {
        self.never().await
    }
    async fn evaluate_node(&self, _: NodeEvaluationRequest) -> Result<NodeEvaluation> {
        self.never().await
    }
    async fn function_log(&self, _: DeploymentRef, _: u64, _: Duration) -> Result<FunctionLogPage> {
        self.never().await
    }
}

type HttpBodyPiece = Result<Bytes>;

#[async_trait]
impl Fanout for Endless {
    async fn open(&self, _: SessionStart) -> Result<FanoutSession> {
        let (commands, mut taken) = mpsc::channel(1);
        let (give, rounds) = mpsc::channel(1);
        self.sessions.lock().push(give);
        let one = self.going_on.one();
        tokio::spawn(async move {
            let _one = one;
            while taken.recv().await.is_some() {}
        });
        Ok(FanoutSession { commands, rounds })
    }
}

#[async_trait]
impl BlobStore for Endless {
    async fn put(&self, _: Bytes) -> Result<BlobDigest> {
        self.never().await
    }
    async fn get(&self, _: BlobDigest) -> Result<Option<Bytes>> {
        self.never().await
    }
    async fn has(&self, _: BlobDigest) -> Result<bool> {
        self.never().await
    }
}

#[async_trait]
impl ObjectStore for Endless {
    async fn create(&self, _: ObjectName) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(Writer { _one: self.going_on.one(), finished: self.finished.clone() }))
    }
    async fn size(&self, _: ObjectName) -> Result<Option<u64>> {
        self.never().await
    }
    async fn read(&self, _: ObjectName, _: Range<u64>) -> Result<Option<ObjectBytes>> {
        let one = self.going_on.one();
        let body = stream::iter([Ok(Bytes::from_static(b"half"))]).chain(stream::pending());
        Ok(Some(Box::pin(body.map(move |piece| {
            let _one = &one;
            piece
        }))))
    }
    async fn delete(&self, _: ObjectName) -> Result<()> {
        self.never().await
    }
}

struct Writer {
    _one: One,
    finished: Arc<AtomicUsize>,
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &bytes[..] {
            b"too much" => Err(Error::bad_request("FileTooLarge", "it is too much")),
            _ => Ok(()),
        }
    }
    async fn finish(self: Box<Self>) -> Result<ObjectSummary> {
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(ObjectSummary { size_bytes: 0, sha256: [0; 32] })
    }
}

/// Everything behind a server, and a channel over a line that can be cut.
struct Remote {
    endless: Endless,
    channel: Channel,
    line: watch::Sender<Wire>,
    _tasks: JoinSet<()>,
}

impl Remote {
    async fn start() -> Remote {
        let endless = Endless::default();
        let everything = Arc::new(endless.clone());
        let mut tasks = JoinSet::new();
        let services = rpc::server(&LIMITS)
            .add_service(RunnerServer::service(everything.clone(), LIMITS))
            .add_service(FanoutServer::service(everything.clone(), LIMITS))
            .add_service(BlobServer::service(everything.clone(), everything, LIMITS));
        let server = loopback::serve(services, &mut tasks).await;
        let (address, line) = wire(server, &mut tasks).await;
        let channel = loopback::connect(address, &LIMITS).await;
        Remote { endless, channel, line, _tasks: tasks }
    }
}

fn function() -> FunctionCall {
    FunctionCall {
        deployment: DEV,
        component: String::new(),
        path: "m:f".to_owned(),
        arguments: "[{}]".into(),
        identity: Identity::Anonymous,
        caller: Caller::HttpApi,
        requester: Requester::default(),
        request_id: String::new(),
    }
}

fn query() -> QueryCall {
    QueryCall { function: function(), at: ReadMoment::Latest, journal: None }
}

fn mutation(has_session: bool) -> MutationCall {
    let session = has_session.then(|| SessionRequest { session: "a".to_owned(), request: 1 });
    MutationCall { function: function(), session, not_before: Timestamp::ZERO }
}

fn request(body: Option<contract::HttpBody>) -> HttpCall {
    HttpCall {
        deployment: DEV,
        component: String::new(),
        method: "GET".to_owned(),
        url: "http://site.example/".to_owned(),
        headers: Vec::new(),
        body,
        identity: Identity::Anonymous,
        requester: Requester::default(),
        request_id: String::new(),
        is_own: false,
    }
}

const NAME: ObjectName = ObjectName { deployment: DEV, component: None, id: [1; 16] };

fn is_lost(error: &Error, retry: Retry) {
    let seen = (error.kind, &*error.code, error.retry);
    assert_eq!(seen, (ErrorKind::Overloaded, code::CONNECTION_LOST, retry), "{error}");
}

#[tokio::test]
async fn a_call_whose_process_is_gone_says_whether_it_may_be_sent_again() {
    for cut in [Wire::Broken, Wire::Silent] {
        let remote = Remote::start().await;
        let runner = Arc::new(GrpcRunner::new(remote.channel.clone(), LIMITS));
        let (one, two, three, four) = (runner.clone(), runner.clone(), runner.clone(), runner.clone());
        let calls = [
            tokio::spawn(async move { one.query(query()).await.map(drop) }),
            tokio::spawn(async move { two.mutation(mutation(true)).await.map(drop) }),
            tokio::spawn(async move { three.mutation(mutation(false)).await.map(drop) }),
            tokio::spawn(async move { four.action(function()).await.map(drop) }),
        ];
        remote.endless.going_on.becomes(4).await;
        remote.line.send_replace(cut);
        for (call, retry) in calls.into_iter().zip([Retry::Later, Retry::Later, Retry::Never, Retry::Never]) {
            is_lost(&in_time(call).await.unwrap().expect_err("it is gone"), retry);
        }
        // Nor does the process go on that has lost its callers.
        remote.endless.going_on.becomes(0).await;
    }
}

#[tokio::test]
async fn work_ends_when_its_caller_goes_away() {
    let remote = Remote::start().await;
    let runner = Arc::new(GrpcRunner::new(remote.channel.clone(), LIMITS));
    let caller = runner.clone();
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let runner = caller.clone();
            tokio::spawn(async move {
                match number % 4 {
                    0 => runner.query(query()).await.map(drop),
                    1 => runner.mutation(mutation(false)).await.map(drop),
                    2 => runner.action(function()).await.map(drop),
                    _ => runner.kind(&function()).await.map(drop),
                }
            })
        })
        .collect();
    remote.endless.going_on.becomes(20).await;
    calls[..15].iter().for_each(tokio::task::JoinHandle::abort);
    remote.endless.going_on.becomes(5).await;
    drop(calls);
}

#[tokio::test]
async fn a_body_whose_process_is_gone_is_not_complete() {
    for cut in [Wire::Broken, Wire::Silent] {
        let remote = Remote::start().await;
        let runner = GrpcRunner::new(remote.channel.clone(), LIMITS);
        let HttpAnswer::Response(mut response) = in_time(runner.http_action(request(None))).await.unwrap()
        else {
            panic!("it is answered")
        };
        assert_eq!(in_time(response.body.next()).await, Some(Ok(Bytes::from_static(b"half"))));
        let blobs = GrpcBlobs::new(remote.channel.clone(), LIMITS);
        let mut object = in_time(blobs.read(NAME, 0..8)).await.unwrap().expect("it is there");
        assert_eq!(in_time(object.next()).await, Some(Ok(Bytes::from_static(b"half"))));
        remote.endless.going_on.becomes(2).await;
        remote.line.send_replace(cut);
        for body in [&mut response.body, &mut object] {
            let error = in_time(body.next()).await.expect("it does not just end").expect_err("it is cut off");
            is_lost(&error, Retry::Never);
            assert!(in_time(body.next()).await.is_none());
        }
        remote.endless.going_on.becomes(0).await;
    }
}

#[tokio::test]
async fn who_leaves_a_body_ends_it_on_the_other_side() {
    let remote = Remote::start().await;
    let runner = GrpcRunner::new(remote.channel.clone(), LIMITS);
    // Before anything is read, after a piece, and with a request's body that never ends.
    let unread = in_time(runner.http_action(request(None))).await.unwrap();
    remote.endless.going_on.becomes(1).await;
    drop(unread);
    remote.endless.going_on.becomes(0).await;
    for body in [None, Some(stream::pending().boxed())] {
        let HttpAnswer::Response(mut response) = in_time(runner.http_action(request(body))).await.unwrap()
        else {
            panic!("it is answered")
        };
        assert!(in_time(response.body.next()).await.is_some());
        drop(response);
        remote.endless.going_on.becomes(0).await;
    }
    // A request's body that fails is no end of it.
    let cut = Error::bad_request("RequestCutOff", "the client went away");
    let body = stream::iter([Ok(Bytes::from_static(b"1")), Err(cut.clone())]).boxed();
    let HttpAnswer::Response(response) = in_time(runner.http_action(request(Some(body)))).await.unwrap()
    else {
        panic!("it is answered")
    };
    let pieces: Vec<_> = in_time(response.body.collect()).await;
    let expected = [Ok(Bytes::from_static(b"half")), Ok(Bytes::from_static(b"1")), Err(cut)];
    assert_eq!(pieces, expected);
    remote.endless.going_on.becomes(0).await;
}

#[tokio::test]
async fn an_upload_that_does_not_come_to_its_end_is_dropped_on_the_other_side() {
    for cut in [Some(Wire::Broken), Some(Wire::Silent), None] {
        let remote = Remote::start().await;
        let blobs = GrpcBlobs::new(remote.channel.clone(), LIMITS);
        let mut writer = in_time(blobs.create(NAME)).await.expect("it begins");
        remote.endless.going_on.becomes(1).await;
        in_time(writer.write(Bytes::from_static(b"bytes"))).await.expect("it is taken");
        match cut {
            None => drop(writer),
            Some(cut) => {
                remote.line.send_replace(cut);
                let error = in_time(async {
                    loop {
                        if let Err(error) = writer.write(Bytes::from_static(b"more")).await {
                            return error;
                        }
                    }
                })
                .await;
                is_lost(&error, Retry::Never);
            }
        }
        remote.endless.going_on.becomes(0).await;
        assert_eq!(remote.endless.finished.load(Ordering::SeqCst), 0, "nobody has ended it");
    }
}

#[tokio::test]
async fn what_the_other_side_refuses_in_the_middle_of_an_upload_is_heard() {
    let remote = Remote::start().await;
    let blobs = GrpcBlobs::new(remote.channel.clone(), LIMITS);
    let mut writer = in_time(blobs.create(NAME)).await.expect("it begins");
    in_time(writer.write(Bytes::from_static(b"too much"))).await.expect("it is on its way");
    assert_eq!(in_time(writer.finish()).await.expect_err("it is refused").code, "FileTooLarge");
    remote.endless.going_on.becomes(0).await;
    let writer = in_time(blobs.create(NAME)).await.expect("it begins");
    assert!(in_time(writer.finish()).await.is_ok());
    assert_eq!(remote.endless.finished.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_session_whose_process_is_gone_can_begin_anew_and_one_without_its_client_ends() {
    let start =
        || SessionStart { deployment: DEV, not_before: Timestamp::ZERO, identity: Identity::Anonymous };
    for cut in [Wire::Broken, Wire::Silent] {
        let remote = Remote::start().await;
        let fanout = GrpcFanout::new(remote.channel.clone(), LIMITS);
        let mut session = in_time(fanout.open(start())).await.expect("a session");
        remote.endless.going_on.becomes(1).await;
        in_time(session.commands.send(Box::new(SessionCommand::Touch))).await.expect("it is open");
        remote.line.send_replace(cut);
        let last = in_time(session.rounds.recv()).await.expect("it says why");
        is_lost(&last.expect_err("it is gone"), Retry::Later);
        assert!(in_time(session.rounds.recv()).await.is_none());
        in_time(session.commands.closed()).await;
        remote.endless.going_on.becomes(0).await;
    }
    let remote = Remote::start().await;
    let fanout = GrpcFanout::new(remote.channel.clone(), LIMITS);
    // Whichever end is dropped.
    let FanoutSession { commands, rounds } = in_time(fanout.open(start())).await.expect("a session");
    remote.endless.going_on.becomes(1).await;
    drop(commands);
    remote.endless.going_on.becomes(0).await;
    drop(rounds);
    let FanoutSession { commands, rounds } = in_time(fanout.open(start())).await.expect("a session");
    remote.endless.going_on.becomes(1).await;
    drop(rounds);
    remote.endless.going_on.becomes(0).await;
    in_time(commands.closed()).await;
    // The client itself goes.
    let session = in_time(fanout.open(start())).await.expect("a session");
    remote.endless.going_on.becomes(1).await;
    drop(fanout);
    remote.endless.going_on.becomes(0).await;
    drop(session);
}

#[tokio::test]
async fn what_ends_a_session_is_heard_though_a_round_waits() {
    let remote = Remote::start().await;
    let fanout = GrpcFanout::new(remote.channel.clone(), LIMITS);
    let start = SessionStart { deployment: DEV, not_before: Timestamp::ZERO, identity: Identity::Anonymous };
    let mut session = in_time(fanout.open(start)).await.expect("a session");
    let give = remote.endless.sessions.lock()[0].clone();
    remote.endless.sessions.lock().clear();
    let round = |nanoseconds| SessionRound {
        timestamp: Timestamp::new(nanoseconds).expect("small"),
        query_set_version: 0,
        identity_version: 0,
        changes: Vec::new(),
    };
    let giving = tokio::spawn(async move {
        for number in 1..=5 {
            give.send(Box::new(Ok(round(number)))).await.expect("it is taken");
        }
        let why = Error::overloaded("SubscriptionsWorkerFullError", "no room");
        give.send(Box::new(Err(why))).await.expect("it is taken");
    });
    for number in 1..=5 {
        let round = in_time(session.rounds.recv()).await.expect("a round").expect("it goes on");
        assert_eq!(round.timestamp.as_nanoseconds(), number);
    }
    let last = in_time(session.rounds.recv()).await.expect("it says why");
    assert_eq!(last.expect_err("it ends").code, "SubscriptionsWorkerFullError");
    assert!(in_time(session.rounds.recv()).await.is_none());
    in_time(giving).await.expect("all is taken");
}

/// A client that says nothing of versions, as one of another make would.
#[tokio::test]
async fn a_caller_of_unknown_versions_is_refused_by_name() {
    let mut tasks = JoinSet::new();
    let log = Arc::new(Scripted::default());
    let services = rpc::server(&LIMITS).add_service(TransactionLogServer::service(log, LIMITS));
    let channel = loopback::channel_to(services, &LIMITS, &mut tasks).await;
    let mut client = proto::txlog::v1::transaction_log_client::TransactionLogClient::new(channel);
    let request = proto::txlog::v1::WatchPositionRequest { group: 1 };
    let status = in_time(client.watch_position(request)).await.expect_err("it is refused");
    let code = status.metadata().get("tidemark-code").and_then(|code| code.to_str().ok());
    assert_eq!((status.code(), code), (tonic::Code::InvalidArgument, Some("VersionNotSupported")));
    assert!(status.message().contains("1-1"), "{}", status.message());
}
