//! The contract of function runners.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use contract::{
    Caller, ErrorKind, EvaluationRequest, FunctionCall, FunctionKind, HttpAnswer, HttpBody, HttpCall,
    HttpResponse, Identity, IdentityKind, ModuleSource, MutationCall, MutationOutcome, QueryCall,
    QueryOutcome, ReadMoment, Requester, Result, SessionRequest, Timestamp,
};
use futures::{SinkExt as _, StreamExt as _, channel::mpsc, stream};

use crate::RunnerSubject;

/// No event of a test takes longer, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(120);

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens")
}

impl RunnerSubject {
    fn call(&self, path: &str, arguments: &str) -> FunctionCall {
        FunctionCall {
            deployment: self.deployment,
            component: String::new(),
            path: path.to_owned(),
            arguments: format!("[{arguments}]").into(),
            identity: Identity::Anonymous,
            caller: Caller::HttpApi,
            requester: Requester::default(),
            request_id: "the-request".to_owned(),
        }
    }

    async fn query(&self, path: &str, arguments: &str, at: ReadMoment) -> QueryOutcome {
        let call = QueryCall { function: self.call(path, arguments), at, journal: None };
        in_time(self.runner.query(call)).await.expect("it is answered")
    }

    async fn mutation(
        &self,
        path: &str,
        arguments: &str,
        session: Option<SessionRequest>,
    ) -> Result<MutationOutcome> {
        let function = self.call(path, arguments);
        let not_before = Timestamp::ZERO;
        in_time(self.runner.mutation(MutationCall { function, session, not_before })).await
    }

    /// Its commit.
    async fn send(&self, body: &str) -> Timestamp {
        let outcome = self.mutation("messages:send", &format!("{{\"body\":\"{body}\"}}"), None).await;
        outcome.expect("it is answered").timestamp.expect("it commits")
    }

    async fn list(&self) -> String {
        let outcome = self.query("messages:list", "{}", ReadMoment::Latest).await;
        outcome.result.expect("it succeeds").to_string()
    }

    fn request(&self, method: &str, path: &str, body: Option<HttpBody>) -> HttpCall {
        HttpCall {
            deployment: self.deployment,
            component: String::new(),
            method: method.to_owned(),
            url: format!("http://site.example{path}"),
            headers: vec![("x-name".to_owned(), b"gr\xfcn".to_vec())],
            body,
            identity: Identity::Anonymous,
            requester: Requester::default(),
            request_id: "the-request".to_owned(),
            is_own: false,
        }
    }

    async fn response(&self, method: &str, path: &str, body: Option<HttpBody>) -> HttpResponse {
        let answer = in_time(self.runner.http_action(self.request(method, path, body))).await;
        match answer.expect("it is answered") {
            HttpAnswer::Response(response) => response,
            HttpAnswer::Failed(error) => panic!("{}", error.message),
            HttpAnswer::NoRouter => panic!("there is a router"),
        }
    }
}

async fn bytes_of(mut body: HttpBody) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = in_time(body.next()).await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

pub async fn a_query_reads_at_its_moment_and_tells_what_it_has_read(subject: RunnerSubject) {
    let first = subject.send("one").await;
    let second = subject.send("two").await;
    let latest = subject.query("messages:list", "{}", ReadMoment::Latest).await;
    assert!(latest.timestamp >= second);
    assert_eq!(latest.result.as_deref(), Ok(r#"["one","two"]"#));
    let before = subject.query("messages:list", "{}", ReadMoment::At(first)).await;
    assert_eq!((before.timestamp, before.result.as_deref()), (first, Ok(r#"["one"]"#)));
    assert!(!latest.read_set.is_empty() && latest.read_set == before.read_set, "its code is among it");
    assert!(!latest.observed.time && !latest.observed.identity);
    let late = QueryCall {
        function: subject.call("messages:list", "{}"),
        at: ReadMoment::At(Timestamp::MAX),
        journal: None,
    };
    let error = in_time(subject.runner.query(late)).await.expect_err("nobody has seen that moment");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Overloaded, "NotYet"));
}

pub async fn a_mutation_takes_effect_once_for_a_request_of_a_session(subject: RunnerSubject) {
    let session = "0b9ab4d5-9f5c-4f2a-8f3c-0d1f6c9d2f00".to_owned();
    let request = |request| Some(SessionRequest { session: session.clone(), request });
    let send = async |number| {
        let outcome = subject.mutation("messages:send", r#"{"body":"x"}"#, request(number)).await;
        outcome.expect("it is answered")
    };
    let first = send(1).await;
    assert_eq!(first.log_lines, ["[LOG] 'sending' 'x'"]);
    let again = send(1).await;
    assert_eq!((&again.result, again.timestamp), (&first.result, first.timestamp));
    assert_eq!(again.log_lines, first.log_lines);
    let other = send(2).await;
    assert!(other.timestamp > first.timestamp && other.result != first.result);
    assert_eq!(subject.list().await, r#"["x","x"]"#);
}

pub async fn what_a_function_throws_is_an_answer_and_changes_nothing(subject: RunnerSubject) {
    let failed = subject.mutation("messages:fail", "{}", None).await.expect("it is answered");
    let error = failed.result.expect_err("it throws");
    assert!(error.message.contains("TypeError: it failed") && error.data.is_none(), "{}", error.message);
    assert_eq!(failed.timestamp, None);
    let refused = subject.mutation("messages:refuse", "{}", None).await.expect("it is answered");
    assert_eq!(refused.result.expect_err("it throws").data.as_deref(), Some(r#"{"code":7}"#));
    let wrong = subject.query("messages:nowhere", "{}", ReadMoment::Latest).await;
    assert!(wrong.result.expect_err("it is not there").message.contains("Could not find"));
    assert_eq!(subject.list().await, "[]");
}

pub async fn a_query_that_is_not_deployed_runs_all_the_same(subject: RunnerSubject) {
    subject.send("one").await;
    let source = "import { query } from 'convex:/_system/repl/wrappers.js'; export default query({ handler: async () => 3 });";
    let call = QueryCall {
        function: FunctionCall {
            identity: Identity::Admin { key_name: "key".to_owned(), acting_as: None },
            ..subject.call("testQuery.js", "{}")
        },
        at: ReadMoment::Latest,
        journal: None,
    };
    let outcome = in_time(subject.runner.inline_query(call, source.into())).await.expect("it is answered");
    assert_eq!(outcome.result.as_deref(), Ok("3"));
}

pub async fn an_action_calls_functions_and_is_answered(subject: RunnerSubject) {
    let call = subject.call("actions:calls", r#"{"body":"by an action"}"#);
    let outcome = in_time(subject.runner.action(call)).await.expect("it is answered");
    let value = outcome.result.expect("it succeeds");
    assert!(value.contains(r#""seen":["by an action"]"#), "{value}");
    let call = subject.call("actions:throws", "{}");
    let outcome = in_time(subject.runner.action(call)).await.expect("it is answered");
    assert_eq!(outcome.result.expect_err("it throws").data.as_deref(), Some(r#"{"code":5}"#));
}

pub async fn a_path_tells_of_what_kind_its_function_is(subject: RunnerSubject) {
    for (path, kind) in [
        ("messages:list", Some(FunctionKind::Query)),
        ("messages:send", Some(FunctionKind::Mutation)),
        ("messages:act", Some(FunctionKind::Action)),
        ("messages:nowhere", None),
    ] {
        assert_eq!(in_time(subject.runner.kind(&subject.call(path, "{}"))).await, Ok(kind), "{path}");
    }
}

pub async fn a_request_is_answered_by_the_apps_router(subject: RunnerSubject) {
    let response = subject.response("GET", "/hello?a=b", None).await;
    assert_eq!(response.status, 200);
    assert!(response.headers.contains(&("x-name".to_owned(), b"gr\xfcn".to_vec())), "{:?}", response.headers);
    let body = bytes_of(response.body).await.expect("it is complete");
    assert_eq!(response.body_bytes, Some(body.len() as u64));
    assert!(String::from_utf8(body).expect("text").contains("http://site.example/hello?a=b"));
    let pieces = ["you ", "", "there"].map(|piece| Ok(Bytes::from(piece)));
    let response = subject.response("POST", "/hello", Some(stream::iter(pieces).boxed())).await;
    assert_eq!(response.status, 201);
    assert_eq!(bytes_of(response.body).await, Ok(b"hello you there".to_vec()));
    assert_eq!(subject.response("GET", "/nowhere", None).await.status, 404);
    let thrown = in_time(subject.runner.http_action(subject.request("GET", "/throws", None))).await;
    let Ok(HttpAnswer::Failed(error)) = thrown else { panic!("it throws") };
    assert!(error.message.contains("Uncaught TypeError: no"), "{}", error.message);
    let nowhere = HttpCall { component: "nowhere".to_owned(), ..subject.request("GET", "/hello", None) };
    assert!(matches!(in_time(subject.runner.http_action(nowhere)).await, Ok(HttpAnswer::NoRouter)));
}

pub async fn bodies_go_both_ways_piece_by_piece(subject: RunnerSubject) {
    let (mut sender, pieces) = mpsc::channel(1);
    let mut response = subject.response("PUT", "/echo/anything", Some(pieces.boxed())).await;
    for piece in ["first", "second"] {
        in_time(sender.send(Ok(Bytes::from(piece)))).await.expect("it is read");
        let answered = in_time(response.body.next()).await.expect("a piece").expect("no error");
        assert_eq!(answered, piece, "it is answered before the next one comes");
    }
    let large = Bytes::from(vec![7; 1_000_000]);
    let sending = in_time(sender.send(Ok(large.clone())));
    let receiving = async {
        let mut bytes = Vec::new();
        while bytes.len() < large.len() {
            bytes.extend_from_slice(&in_time(response.body.next()).await.expect("more").expect("no error"));
        }
        bytes
    };
    let (sent, received) = tokio::join!(sending, receiving);
    assert!(sent.is_ok() && received == large);
    drop(sender);
    assert!(in_time(response.body.next()).await.is_none());
}

pub async fn a_body_that_is_cut_off_is_not_complete(subject: RunnerSubject) {
    // That of an answer.
    let response = subject.response("GET", "/breaks", None).await;
    assert_eq!(bytes_of(response.body).await.expect_err("it breaks").code, "HttpResponseCutOff");
    // That of a request: the function is told why.
    let cut = contract::Error::bad_request("RequestCutOff", "the client went away");
    let body = stream::iter([Ok(Bytes::from("half")), Err(cut)]).boxed();
    let answer = in_time(subject.runner.http_action(subject.request("POST", "/hello", Some(body)))).await;
    let Ok(HttpAnswer::Failed(error)) = answer else { panic!("half of it is no request") };
    assert!(error.message.contains("RequestCutOff"), "{}", error.message);
}

pub async fn who_leaves_an_answer_is_gone_and_the_function_is_told(subject: RunnerSubject) {
    let mut response = subject.response("GET", "/ticks", None).await;
    in_time(response.body.next()).await.expect("a piece").expect("no error");
    drop(response);
    drop(subject.response("GET", "/quiet", None).await);
    in_time(async {
        loop {
            let told = subject.list().await;
            if told.matches("The client has gone away.").count() == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub async fn code_is_evaluated_without_being_served(subject: RunnerSubject) {
    let evaluate = async |source: &str| {
        let source = ModuleSource { path: "added.js".to_owned(), source: source.into(), source_map: None };
        let request = EvaluationRequest {
            deployment: subject.deployment,
            modules: vec![source],
            schema: None,
            definition: None,
            definitions: BTreeMap::new(),
            component: String::new(),
            site_path: String::new(),
            environment_variables: [("NAME".to_owned(), "value".to_owned())].into(),
            import_phase: None,
        };
        in_time(subject.runner.evaluate(request)).await
    };
    let evaluation = evaluate("export const name = process.env.NAME;").await.expect("it can be evaluated");
    assert_eq!(evaluation.modules.keys().collect::<Vec<_>>(), ["added.js"]);
    let error = evaluate("throw new Error('at import');").await.expect_err("it throws");
    assert_eq!((error.kind, &*error.code), (ErrorKind::BadRequest, "InvalidModules"));
    assert!(error.message.contains("at import"), "{error}");
    // As large as an app may be: many pieces.
    let large = format!("export const text = '{}';", "x".repeat(3_000_000));
    assert!(evaluate(&large).await.is_ok());
}

pub async fn the_function_log_has_each_execution_and_is_waited_for(subject: RunnerSubject) {
    subject.send("one").await;
    let page = in_time(subject.runner.function_log(subject.deployment, 0, Duration::ZERO)).await;
    let page = page.expect("it is answered");
    let record = page.records.last().expect("it ran");
    assert_eq!((record.kind, &*record.identifier), (FunctionKind::Mutation, "messages:send"));
    assert_eq!((record.caller, record.identity), (Caller::HttpApi, IdentityKind::Anonymous));
    assert_eq!(record.lines[0].to_client_line(), "[LOG] 'sending' 'one'");
    assert_eq!(record.request_id, "the-request");
    let runner = Arc::clone(&subject.runner);
    let (deployment, cursor) = (subject.deployment, page.cursor);
    let waiting = tokio::spawn(async move { runner.function_log(deployment, cursor, PATIENCE).await });
    subject.send("two").await;
    let next = in_time(waiting).await.expect("it ends").expect("it is answered");
    assert!(next.cursor > cursor && next.records.iter().all(|record| record.identifier == "messages:send"));
}

pub async fn many_calls_at_once_are_all_answered(subject: RunnerSubject) {
    let calls = (0..200).map(|number| {
        let subject = &subject;
        async move {
            if number % 4 == 0 {
                subject.send(&format!("{number}")).await;
            } else {
                subject.query("messages:count", "{}", ReadMoment::Latest).await.result.expect("it succeeds");
            }
        }
    });
    futures::future::join_all(calls).await;
    let count = subject.query("messages:count", "{}", ReadMoment::Latest).await;
    assert_eq!(count.result.as_deref(), Ok("50"));
}

pub async fn a_caller_that_goes_away_holds_up_nobody(subject: RunnerSubject) {
    for _ in 0..50 {
        let call = QueryCall {
            function: subject.call("messages:list", "{}"),
            at: ReadMoment::Latest,
            journal: None,
        };
        let mut query = Box::pin(subject.runner.query(call));
        let _ = futures::poll!(&mut query);
        drop(query);
    }
    subject.send("after them").await;
    assert_eq!(subject.list().await, r#"["after them"]"#);
}
