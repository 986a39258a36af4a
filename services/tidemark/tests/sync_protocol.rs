//! The sync protocol, byte by byte, against the real program. System functions answer without any code being pushed.

mod server;

use std::{path::Path, process::Command, time::Duration};

use server::{PATIENCE, Server};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sync_protocol::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{
        Message,
        protocol::{
            CloseFrame,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

const SESSION: &str = "eeb94f97-40d8-452f-a084-186fa8178e4e";

impl Server {
    async fn open(&self, path: &str) -> Client {
        let (socket, _) = connect_async(format!("ws://{}{path}", self.address)).await.expect("upgrades");
        Client { socket }
    }

    /// A connection of the npm client that has said `Connect`.
    async fn connect(&self) -> Client {
        let mut client = self.open("/api/1.48.0/sync").await;
        client.send(connect_message()).await;
        client
    }

    /// The answer to an administrator, head and body.
    async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "").await
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(&self.address).await.expect("it is accepted");
        let key = &self.admin_key;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Convex {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(head.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        let read = timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it is answered");
        read.expect("it is text");
        answer
    }

    async fn set_variables(&self, variables: &[(String, String)]) {
        let changes = variables.iter().map(|(name, value)| json!({"name": name, "value": value}));
        let body = json!({"changes": changes.collect::<Vec<_>>()}).to_string();
        let answer = self.ask("POST", "/api/v1/update_environment_variables", &body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn authenticate(&self, base_version: u32) -> Value {
        json!({"type": "Authenticate", "baseVersion": base_version, "tokenType": "Admin", "value": self.admin_key})
    }
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("is open");
    }

    async fn frame(&mut self) -> Message {
        let frame = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
        frame.expect("is open").expect("is a frame")
    }

    /// The next message of the protocol; its heartbeats are left out.
    async fn message(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).expect("is JSON");
                    if message["type"] != "Ping" {
                        return message;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> CloseFrame {
        loop {
            match self.frame().await {
                Message::Close(frame) => return frame.expect("a close frame has a code"),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Transitions up to the versions given, which must chain exactly; the modifications of all of them.
    async fn until(&mut self, version: &mut Value, query_set: u32, identity: u32) -> Vec<Value> {
        let mut modifications = Vec::new();
        while version["querySet"] != query_set || version["identity"] != identity {
            let transition = self.message().await;
            assert_eq!(transition["type"], "Transition", "{transition}");
            assert_eq!(
                transition["startVersion"], *version,
                "each Transition starts where the last one ended"
            );
            *version = transition["endVersion"].clone();
            modifications
                .extend(transition["modifications"].as_array().expect("is an array").iter().cloned());
        }
        modifications
    }
}

fn connect_message() -> Value {
    json!({"type": "Connect", "sessionId": SESSION, "connectionCount": 0, "lastCloseReason": "InitialConnect", "clientTs": 1})
}

fn zero() -> Value {
    json!({"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="})
}

fn add(query_id: u32, path: &str, arguments: Value) -> Value {
    json!({"type": "Add", "queryId": query_id, "udfPath": path, "args": [arguments]})
}

fn modify(base_version: u32, modifications: Vec<Value>) -> Value {
    json!({
        "type": "ModifyQuerySet",
        "baseVersion": base_version,
        "newVersion": base_version + 1,
        "modifications": modifications,
    })
}

#[tokio::test]
async fn versions_chain_and_every_change_is_acknowledged() {
    let server = Server::start("");
    let mut client = server.connect().await;
    // All at once, as clients do: nobody waits for answers.
    client.send(server.authenticate(0)).await;
    let url = add(0, "_system/cli/convexUrl:cloudUrl", json!({}));
    client.send(modify(0, vec![url, add(1, "nowhere:nothing", json!({}))])).await;
    client.send(modify(1, vec![])).await;
    client.send(json!({"type": "Event", "eventType": "ClientConnect", "event": []})).await;
    let mut version = zero();
    let modifications = client.until(&mut version, 2, 1).await;
    let of =
        |query: u32| modifications.iter().find(|change| change["queryId"] == query).expect("is answered");
    assert_eq!(of(0)["type"], "QueryUpdated");
    assert_eq!(of(0)["value"], format!("http://{}", server.address));
    assert_eq!(of(0).get("journal"), Some(&Value::Null));
    assert_eq!(of(1)["type"], "QueryFailed");
    let message = of(1)["errorMessage"].as_str().expect("is a string");
    assert!(message.contains("Could not find function") && message.contains("[Request ID: "), "{message}");
    assert_eq!(of(1).get("errorData"), None, "only a ConvexError has data");

    client.send(modify(2, vec![json!({"type": "Remove", "queryId": 0})])).await;
    client.send(json!({"type": "Authenticate", "baseVersion": 1, "tokenType": "None"})).await;
    let modifications = client.until(&mut version, 3, 2).await;
    assert!(modifications.contains(&json!({"type": "QueryRemoved", "queryId": 0})), "{modifications:?}");
}

#[tokio::test]
async fn mutations_fail_and_actions_are_refused_without_harm() {
    let server = Server::start("");
    let mut client = server.connect().await;
    client
        .send(json!({"type": "Mutation", "requestId": 0, "udfPath": "nowhere:nothing", "args": [{}]}))
        .await;
    client.send(json!({"type": "Action", "requestId": 1, "udfPath": "nowhere:nothing", "args": [{}]})).await;
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let message = client.message().await;
        if message["type"] != "Transition" {
            answers.push(message);
        }
    }
    answers.sort_by_key(|answer| answer["requestId"].as_u64());
    assert_eq!((&answers[0]["type"], &answers[0]["success"]), (&json!("MutationResponse"), &json!(false)));
    assert!(
        answers[0]["result"].as_str().is_some_and(|text| text.contains("Could not find function")),
        "{answers:?}"
    );
    assert_eq!(answers[0].get("errorData"), None);
    assert_eq!((&answers[1]["type"], &answers[1]["success"]), (&json!("ActionResponse"), &json!(false)));
}

#[tokio::test]
async fn wrong_version_numbers_are_fatal() {
    let server = Server::start("");
    for wrong in [modify(1, vec![]), server.authenticate(7)] {
        let mut client = server.connect().await;
        client.send(wrong).await;
        assert_eq!(client.message().await["type"], "FatalError");
    }
}

#[tokio::test]
async fn a_wrong_key_is_an_auth_error_and_nothing_after_it_runs() {
    let server = Server::start("");
    let mut client = server.connect().await;
    client
        .send(json!({"type": "Authenticate", "baseVersion": 0, "tokenType": "Admin", "value": "dev|wrong"}))
        .await;
    client.send(json!({"type": "Mutation", "requestId": 0, "udfPath": "a:b", "args": [{}]})).await;
    let error = client.message().await;
    assert_eq!(
        (&error["type"], &error["baseVersion"], &error["authUpdateAttempted"]),
        (&json!("AuthError"), &json!(0), &json!(true))
    );
    // Somebody else's mutation, sent and answered after it, is in the log; this one is not.
    let mut other = server.connect().await;
    other.send(json!({"type": "Mutation", "requestId": 0, "udfPath": "c:d", "args": [{}]})).await;
    while other.message().await["type"] != "MutationResponse" {}
    let log = server.get("/api/stream_function_logs?cursor=0").await;
    assert!(log.contains("c:d") && !log.contains("a:b"), "{log}");
}

#[tokio::test]
async fn violations_close_with_a_code_and_a_reason() {
    let server = Server::start(
        "[limits.function]\narguments_bytes_max = 1000\n[limits.sync]\nmessage_bytes_max = 1000\n",
    );
    let large = format!(r#"{{"type":"Event","eventType":"{}","event":null}}"#, "x".repeat(2_000));
    for (frame, code, reason) in [
        (Message::text("{"), 1002, "ProtocolViolation: the message is not valid"),
        (Message::text(r#"{"type":"Shout"}"#), 1002, "ProtocolViolation: the message type \"Shout\""),
        (Message::text(connect_message().to_string()), 1002, "ProtocolViolation: Connect came twice"),
        (
            Message::text(modify(0, vec![json!({"type": "Remove", "queryId": 9})]).to_string()),
            1002,
            "ProtocolViolation: query 9",
        ),
        (Message::binary(vec![1, 2, 3]), 1002, "ProtocolViolation: binary"),
        (Message::text(large), 1009, "MessageTooLarge"),
    ] {
        let mut client = server.connect().await;
        client.socket.send(frame).await.expect("is open");
        let close = client.closed().await;
        assert_eq!(u16::from(close.code), code, "{close:?}");
        assert!(close.reason.starts_with(reason), "{close:?}");
    }
    let mut client = server.open("/api/sync").await;
    client.send(modify(0, vec![])).await;
    assert!(client.closed().await.reason.contains("must be Connect"));
}

#[tokio::test]
async fn a_client_that_sends_too_much_at_once_is_stopped_and_told_why() {
    let server = Server::start(
        "[limits.function]\narguments_bytes_max = 1000\n[limits.sync]\nmessage_bytes_max = 1000000\n",
    );
    // Also one whose message is far from read when it is refused.
    for bytes in [1_000_001, 3_000_000] {
        let mut client = server.connect().await;
        client.socket.send(Message::text("x".repeat(bytes))).await.expect("is open");
        let fatal = client.message().await;
        assert_eq!(fatal["type"], "FatalError", "else it would send the same again and again");
        assert!(fatal["error"].as_str().is_some_and(|text| text.contains("MessageTooLarge")), "{fatal}");
        assert_eq!(u16::from(client.closed().await.code), 1009);
    }
}

#[tokio::test]
async fn arguments_that_are_longer_as_text_than_as_values_are_taken() {
    let server = Server::start("");
    let mut client = server.connect().await;
    let bytes = json!({"$bytes": "AAAA".repeat((13 << 20) / 3)});
    client
        .send(
            json!({"type": "Mutation", "requestId": 0, "udfPath": "nowhere:nothing", "args": [{"a": bytes}]}),
        )
        .await;
    let answer = client.message().await;
    assert_eq!(answer["type"], "MutationResponse");
    assert!(
        answer["result"].as_str().is_some_and(|text| text.contains("Could not find function")),
        "{answer}"
    );
}

#[tokio::test]
async fn queries_are_added_as_long_as_there_is_memory_for_what_comes_with_them() {
    let server = Server::start(
        "[limits.fanout]\nresult_bytes_max = 1000000\nunlistened_bytes_max = 1000\n[limits.gateway]\nsmall_body_bytes_max = 1000\n",
    );
    let mut client = server.connect().await;
    let mut version = zero();
    for query in 0..4 {
        let large = json!({"a": "x".repeat(300_000)});
        client.send(modify(query, vec![add(query, "nowhere:nothing", large)])).await;
        if query < 3 {
            client.until(&mut version, query + 1, 0).await;
        }
    }
    client.send(modify(4, vec![add(4, "nowhere:nothing", json!({}))])).await;
    let close = client.closed().await;
    assert_eq!(u16::from(close.code), 1013);
    assert!(close.reason.starts_with("SubscriptionsWorkerFullError"), "{close:?}");
}

#[tokio::test]
async fn a_client_that_takes_its_rounds_more_slowly_than_they_come_is_heard() {
    let server = Server::start("");
    let large: Vec<_> = (0..60).map(|number| (format!("LARGE_{number}"), "x".repeat(8_000))).collect();
    server.set_variables(&large).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1 << 16).expect("it can be small");
    let stream = socket.connect(server.address.parse().expect("an address")).await.expect("it is accepted");
    let url = format!("ws://{}/api/1.27.3/sync", server.address);
    let (socket, _) = client_async(url, MaybeTlsStream::Plain(stream)).await.expect("upgrades");
    let mut client = Client { socket };
    client.send(connect_message()).await;
    client.send(server.authenticate(0)).await;
    client.send(modify(0, vec![add(0, "_system/cli/queryEnvironmentVariables:default", json!({}))])).await;
    let shown = client.until(&mut zero(), 1, 1).await;
    assert!(shown.last().is_some_and(|shown| shown["type"] == "QueryUpdated"), "{shown:?}");
    let changes = async {
        for number in 0.. {
            server.set_variables(&[("CHANGES".to_owned(), format!("{number}"))]).await;
        }
    };
    let rounds = async {
        for round in 0..60 {
            // Some wait in the buffers of the connection by now.
            if round == 20 {
                client.send(modify(1, vec![json!({"type": "Remove", "queryId": 0})])).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            if client.message().await["modifications"] == json!([{"type": "QueryRemoved", "queryId": 0}]) {
                return;
            }
        }
        panic!("it was not heard");
    };
    tokio::select! {
        () = rounds => {}
        () = changes => {}
    }
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let server = Server::start("");
    let mut client = server.connect().await;
    let enough = CloseFrame { code: 1000.into(), reason: "enough".into() };
    client.socket.send(Message::Close(Some(enough))).await.expect("is open");
    assert_eq!(u16::from(client.closed().await.code), 1000);
}

#[tokio::test]
async fn a_second_connection_ends_the_first_of_the_same_session() {
    let server = Server::start("");
    let mut first = server.connect().await;
    first.send(modify(0, vec![])).await;
    first.until(&mut zero(), 1, 0).await;
    let mut second = server.connect().await;
    second.send(modify(0, vec![])).await;
    second.until(&mut zero(), 1, 0).await;
    let close = first.closed().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "SessionSuperseded"));
}

#[tokio::test]
async fn a_client_from_the_future_is_not_shown_the_past() {
    let server = Server::start("[limits.fanout]\ntimestamp_wait_ms_max = 200\n");
    let mut client = server.open("/api/1.48.0/sync").await;
    let mut connect = connect_message();
    connect["maxObservedTimestamp"] = Timestamp::new(i64::MAX as u64).expect("in range").encode().into();
    client.send(connect).await;
    client.send(modify(0, vec![])).await;
    assert_eq!(u16::from(client.closed().await.code), 1013);
}

#[tokio::test]
async fn quiet_connections_are_kept_alive_and_dead_ones_closed() {
    let server = Server::start(
        "[limits.sync]\nheartbeat_ms = 100\nping_interval_ms = 100\nclient_silence_ms_max = 3000\n",
    );
    let mut client = server.connect().await;
    let (mut pings, mut heartbeats) = (0, 0);
    while pings < 40 || heartbeats < 40 {
        // Reading answers the pings, so this lasts longer than the silence that is allowed.
        match client.frame().await {
            Message::Ping(_) => pings += 1,
            Message::Text(text) if text.as_str() == r#"{"type":"Ping"}"# => heartbeats += 1,
            other => panic!("{other:?}"),
        }
    }
    // Now the bytes are read, and nothing is answered.
    let mut bytes = Vec::new();
    let end = timeout(PATIENCE, client.socket.into_inner().read_to_end(&mut bytes)).await;
    end.expect("the server ends it").expect("it ends in order");
    let close = [&1001_u16.to_be_bytes()[..], b"InactiveClient"].concat();
    assert!(bytes.ends_with(&close), "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn a_message_that_never_ends_closes_its_connection_although_pings_are_answered() {
    let server = Server::start(
        "[limits.sync]\nheartbeat_ms = 100\nping_interval_ms = 100\nclient_silence_ms_max = 3000\n",
    );
    let mut client = server.connect().await;
    let beginning = Frame::message("{", OpCode::Data(Data::Text), false);
    client.socket.send(Message::Frame(beginning)).await.expect("is open");
    // Reading answers the pings.
    let close = client.closed().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "InactiveClient"));
}

#[tokio::test]
async fn large_transitions_come_in_chunks_to_clients_that_know_them() {
    let server = Server::start("[limits.sync]\ntransition_chunk_bytes_max = 100\n");
    let mut modern = server.connect().await;
    modern.send(modify(0, vec![add(0, "nowhere:nothing", json!({}))])).await;
    let mut text = String::new();
    loop {
        let chunk = modern.message().await;
        assert_eq!(chunk["type"], "TransitionChunk", "{chunk}");
        text.push_str(chunk["chunk"].as_str().expect("is a string"));
        let total = chunk["totalParts"].as_u64().expect("is a number");
        if chunk["partNumber"].as_u64() == Some(total - 1) {
            let transition: Value = serde_json::from_str(&text).expect("the parts join to a message");
            text.clear();
            if transition["endVersion"]["querySet"] == 1 {
                assert!(total > 1);
                break;
            }
        }
    }
    for path in ["/api/sync", "/api/1.27.3/sync"] {
        let mut other = server.open(path).await;
        let mut connect = connect_message();
        connect["sessionId"] = "00000000-0000-4000-8000-000000000001".into();
        other.send(connect).await;
        other.send(modify(0, vec![add(0, "nowhere:nothing", json!({}))])).await;
        assert_eq!(other.until(&mut zero(), 1, 0).await.len(), 1);
    }
}

#[tokio::test]
async fn stopping_closes_sessions_to_come_again_later() {
    let mut server = Server::start("");
    let mut client = server.connect().await;
    client.send(modify(0, vec![])).await;
    client.until(&mut zero(), 1, 0).await;
    let stopped = Command::new("kill").arg(server.process.id().to_string()).status().expect("runs");
    assert!(stopped.success());
    let close = client.closed().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1013, "ServerShuttingDown"));
    drop(client);
    let ended = server.process.wait().expect("is a child");
    assert_eq!(ended.code(), Some(0));
    assert!(!Path::new(&server.folder.path().join("data/env")).exists());
}
