//! HTTP actions: requests and answers, bodies both ways, and clients that go away.

use std::time::Duration;

use bytes::Bytes;
use contract::{
    Caller, Error, FunctionError, FunctionKind, HttpAnswer, HttpBody, HttpCall, HttpResponse, Identity,
    IdentityKind, Requester, Runner as _,
};
use futures::{StreamExt as _, channel::mpsc, stream};
use serde_json::json;

use crate::harness::{DEPLOYMENT, Harness, admin, parsed, user};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

fn request(method: &str, path: &str) -> HttpCall {
    HttpCall {
        deployment: DEPLOYMENT,
        component: String::new(),
        method: method.to_owned(),
        url: format!("http://site.example{path}"),
        headers: vec![
            ("host".to_owned(), b"site.example".to_vec()),
            ("x-name".to_owned(), b"gr\xfcn".to_vec()),
        ],
        body: None,
        identity: Identity::Anonymous,
        requester: Requester::default(),
        request_id: "the-request".to_owned(),
        is_own: false,
    }
}

fn body_of(pieces: &[&'static str]) -> Option<HttpBody> {
    Some(stream::iter(pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect::<Vec<_>>()).boxed())
}

async fn response_to(harness: &Harness, call: HttpCall) -> HttpResponse {
    match harness.runner.http_action(call).await.expect("it is answered") {
        HttpAnswer::Response(response) => response,
        HttpAnswer::Failed(error) => panic!("{}", error.message),
        HttpAnswer::NoRouter => panic!("there is a router"),
    }
}

async fn failure_of(harness: &Harness, path: &str) -> FunctionError {
    match harness.runner.http_action(request("GET", path)).await.expect("it is answered") {
        HttpAnswer::Failed(error) => error,
        HttpAnswer::Response(response) => panic!("it answered {}", response.status),
        HttpAnswer::NoRouter => panic!("there is a router"),
    }
}

/// Status and body.
async fn answer_to(harness: &Harness, call: HttpCall) -> (u16, String) {
    let response = response_to(harness, call).await;
    let status = response.status;
    let body = text_of(response).await.expect("the body is complete");
    (status, body)
}

async fn text_of(response: HttpResponse) -> Result<String, Error> {
    let mut text = Vec::new();
    let mut body = response.body;
    while let Some(piece) = body.next().await {
        text.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(text).expect("text"))
}

async fn messages(harness: &Harness) -> serde_json::Value {
    harness.value_of("messages:list", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_to_the_router_and_its_answer_back() {
    let harness = Harness::start().await;
    let response = response_to(&harness, request("GET", "/hello?a=b")).await;
    let headers = [("content-type", &b"application/json"[..]), ("x-name", b"gr\xfcn")];
    assert_eq!(response.headers, headers.map(|(name, value)| (name.to_owned(), value.to_vec())));
    assert_eq!(response.status, 200);
    let length = response.body_bytes;
    let body = text_of(response).await.expect("it is complete");
    assert_eq!(length, Some(body.len() as u64));
    assert_eq!(
        parsed(body),
        json!({
            "url": "http://site.example/hello?a=b",
            "method": "GET",
            "headers": [["host", "site.example"], ["x-name", "gr\u{fc}n"]],
            "hasBody": false,
        })
    );
    let call = HttpCall { body: body_of(&["you ", "there"]), ..request("POST", "/hello") };
    assert_eq!(answer_to(&harness, call).await, (201, "hello you there".to_owned()));
    assert_eq!(answer_to(&harness, request("POST", "/hello")).await, (201, "hello ".to_owned()));
    assert!(answer_to(&harness, request("HEAD", "/hello")).await.1.contains("HEAD"));
    for (method, path) in [("DELETE", "/hello"), ("GET", "/nowhere"), ("PUT", "/echo")] {
        let sentence = format!("No HttpAction routed for {path}");
        assert_eq!(answer_to(&harness, request(method, path)).await, (404, sentence));
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_nothing_is_run() {
    let harness = Harness::empty(|_| ()).await;
    let answer = harness.runner.http_action(request("GET", "/hello")).await.expect("it is answered");
    assert!(matches!(answer, HttpAnswer::NoRouter));
    let call = HttpCall { component: "nope".to_owned(), ..request("GET", "/hello") };
    let answer = harness.runner.http_action(call).await.expect("it is answered");
    assert!(matches!(answer, HttpAnswer::NoRouter));
    assert_eq!(harness.runner.metrics().http_actions, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_both_ways_piece_by_piece() {
    let harness = Harness::start().await;
    let (sender, pieces) = mpsc::unbounded();
    let call = HttpCall { body: Some(pieces.boxed()), ..request("PUT", "/echo/anything") };
    let mut response = response_to(&harness, call).await;
    assert_eq!(response.body_bytes, None);
    for piece in ["first", "second"] {
        sender.unbounded_send(Ok(Bytes::from(piece))).expect("it is read");
        let answered = response.body.next().await.expect("a piece").expect("no error");
        assert_eq!(answered, piece, "it is answered before the next one comes");
    }
    drop(sender);
    assert!(response.body.next().await.is_none());
    let call = request("GET", "/large?bytes=300000");
    let mut response = response_to(&harness, call).await;
    assert_eq!(response.body_bytes, Some(300_000));
    let mut bytes = 0;
    while let Some(piece) = response.body.next().await {
        let piece = piece.expect("no error");
        assert!(piece.len() <= 64 << 10);
        bytes += piece.len();
    }
    assert_eq!(bytes, 300_000);
    let metrics = harness.runner.metrics();
    assert_eq!((metrics.http_request_bytes, metrics.http_response_bytes), (11, 300_011));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_called_in_the_name_of_whoever_asks() {
    let harness = Harness::start().await;
    assert_eq!(answer_to(&harness, request("GET", "/messages")).await, (200, r#"["one"]"#.to_owned()));
    let asked_by = async |identity| {
        let call = HttpCall { identity, ..request("GET", "/who") };
        parsed(answer_to(&harness, call).await.1)
    };
    assert_eq!(asked_by(Identity::Anonymous).await["identity"], json!(null));
    assert_eq!(asked_by(admin()).await["identity"], json!(null));
    assert_eq!(asked_by(user("bob")).await["identity"], json!({"subject": "bob"}));
    let reason = Error::bad_request("InvalidAuthHeader", "It is none of ours.");
    let refused = asked_by(Identity::Unverified(Box::new(reason))).await;
    assert_eq!(refused["identity"], json!("InvalidAuthHeader: It is none of ours."));
    let nested = refused["nested"].as_str().expect("a text");
    assert!(nested.starts_with("Uncaught Error: InvalidAuthHeader: It is none of ours."), "{nested}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_throws_is_told_at_once() {
    let harness = Harness::start().await;
    let error = failure_of(&harness, "/throws").await;
    let beginning = "[Request ID: the-request] Server Error\nUncaught TypeError: no\n";
    assert!(error.message.starts_with(beginning), "{}", error.message);
    assert_eq!(failure_of(&harness, "/refuses").await.data.map(parsed), Some(json!({"code": 5})));
    for (path, sentence) in [
        ("/nothing", "An HTTP action must return a Response."),
        ("/read", "The body of the Response has already been read."),
    ] {
        let error = failure_of(&harness, path).await;
        assert!(error.message.contains(&format!("Uncaught TypeError: {sentence}")), "{}", error.message);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_sent_or_cut() {
    let harness = Harness::with(|options| {
        options.limits.action.http_request_bytes_max = 8;
        options.limits.action.http_response_bytes_max = 100_000;
    })
    .await;
    assert_eq!(answer_to(&harness, request("GET", "/large?bytes=100000")).await.1.len(), 100_000);
    let error = failure_of(&harness, "/large?bytes=100001").await;
    assert!(error.message.contains("HttpResponseTooLarge"), "{}", error.message);
    let response = response_to(&harness, request("GET", "/large/stream")).await;
    assert_eq!(text_of(response).await.expect_err("it is cut").code, "HttpResponseCutOff");
    let call = HttpCall { body: body_of(&["12345678"]), ..request("POST", "/hello") };
    assert_eq!(answer_to(&harness, call).await.0, 201);
    let call = HttpCall { body: body_of(&["12345678", "9"]), ..request("POST", "/hello") };
    match harness.runner.http_action(call).await.expect("it is answered") {
        HttpAnswer::Failed(error) => assert!(error.message.contains("RequestTooLarge"), "{}", error.message),
        _ => panic!("it is too large"),
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_stream_fails_is_not_complete() {
    let harness = Harness::start().await;
    let response = response_to(&harness, request("GET", "/breaks")).await;
    assert_eq!(text_of(response).await.expect_err("it breaks").code, "HttpResponseCutOff");
    until("the end", async || harness.runner.metrics().actions_running == 0).await;
    let log = harness.runner.function_log(DEPLOYMENT, 0, Duration::ZERO).await.expect("it is kept");
    let record = log.records.last().expect("an entry");
    assert!(record.error.as_ref().expect("it failed").starts_with("Uncaught RangeError: in the middle"));
    assert_eq!(record.http_status, Some(200));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_on_without_being_awaited_is_waited_for() {
    let harness = Harness::start().await;
    assert_eq!(answer_to(&harness, request("GET", "/late")).await, (200, "one two".to_owned()));
    until("the end", async || harness.runner.metrics().actions_running == 0).await;
    assert_eq!(messages(&harness).await, json!(["after the answer", "by a timer"]));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_taken_what_was_announced_has_not_gone() {
    let harness = Harness::start().await;
    let mut response = response_to(&harness, request("GET", "/hello")).await;
    let mut missing = response.body_bytes.expect("it is announced");
    while missing > 0 {
        missing -= response.body.next().await.expect("a piece").expect("no error").len() as u64;
    }
    drop(response);
    until("the end", async || harness.runner.metrics().actions_running == 0).await;
    assert_eq!(harness.runner.metrics().http_clients_gone, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_is_told_that_the_client_has_gone_and_goes_on() {
    let harness = Harness::start().await;
    let mut response = response_to(&harness, request("GET", "/ticks")).await;
    response.body.next().await.expect("a piece").expect("no error");
    drop(response);
    until("the end", async || harness.runner.metrics().actions_running == 0).await;
    assert_eq!(messages(&harness).await, json!(["The client has gone away."]));
    assert_eq!(harness.runner.metrics().http_clients_gone, 1);

    let quiet = response_to(&harness, request("GET", "/quiet")).await;
    drop(quiet);
    let all = json!(["The client has gone away.", "cancelled: The client has gone away."]);
    until("the note", async || messages(&harness).await == all).await;
    until("the end", async || harness.runner.metrics().actions_running == 0).await;
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_itself_is_answered_when_all_places_are_taken() {
    let harness = Harness::with(|options| {
        options.limits.action.running_max = 1;
        options.limits.action.wait_ms_max = 50;
    })
    .await;
    let waiting = response_to(&harness, request("GET", "/quiet")).await;
    let refused = harness.runner.http_action(request("GET", "/hello")).await.map(drop);
    assert_eq!(refused.expect_err("there is no place").code, "TooManyConcurrentRequests");
    let own = HttpCall { is_own: true, ..request("GET", "/hello") };
    assert_eq!(answer_to(&harness, own).await.0, 200);
    drop(waiting);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_cuts_what_is_not_complete() {
    let harness = Harness::start().await;
    let response = response_to(&harness, request("GET", "/quiet")).await;
    harness.stop().await;
    assert_eq!(text_of(response).await.expect_err("it is cut").code, "HttpResponseCutOff");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_request_by_its_route() {
    let harness = Harness::start().await;
    // An answer is complete a little before its function ends.
    let ended = async || until("the end", async || harness.runner.metrics().actions_running == 0).await;
    answer_to(&harness, request("GET", "/messages")).await;
    ended().await;
    let call = HttpCall { body: body_of(&["x"]), ..request("PUT", "/echo/x") };
    answer_to(&harness, call).await;
    ended().await;
    answer_to(&harness, request("GET", "/nowhere")).await;
    ended().await;
    failure_of(&harness, "/throws").await;
    ended().await;
    let log = harness.runner.function_log(DEPLOYMENT, 0, Duration::ZERO).await.expect("it is kept");
    let requests: Vec<_> =
        log.records.iter().filter(|record| record.kind == FunctionKind::HttpAction).collect();
    let shown: Vec<_> = requests
        .iter()
        .map(|record| (record.identifier.as_str(), record.http_status, record.error.is_some()))
        .collect();
    let expected = [
        ("GET /messages", Some(200), false),
        ("PUT /echo/*", Some(200), false),
        ("GET /nowhere", Some(404), false),
        ("GET /throws", None, true),
    ];
    assert_eq!(shown, expected);
    assert_eq!((requests[0].caller, requests[0].identity), (Caller::HttpEndpoint, IdentityKind::Anonymous));
    assert_eq!(requests[0].lines[0].messages, ["'asked'"]);
    assert_eq!(requests[0].request_id, "the-request");
    let called: Vec<_> = log.records.iter().filter(|record| record.caller == Caller::Action).collect();
    assert_eq!(called.len(), 2, "what it called is there, too");
    harness.stop().await;
}
