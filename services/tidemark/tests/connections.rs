//! Connections that bring what they should not, or nothing: each is ended, and the next one is served.

mod server;

use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use server::{PATIENCE, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Times are long enough for whoever is not late on purpose, also on a loaded machine.
fn limits(others: &str) -> String {
    format!(
        "[limits.gateway]\nhead_ms_max = 3000\nbody_ms_max = 3000\nhead_bytes_max = 8192\n\
         api_body_bytes_max = 100000\nbodies_bytes_max = 140000\n{others}\n\
         [limits.function]\narguments_bytes_max = 90000\n[limits.auth]\ntoken_bytes_max = 4096\n"
    )
}

/// Sends the text and returns what comes until the server closes the connection.
async fn exchange(server: &Server, text: &str) -> String {
    let mut connection = TcpStream::connect(&server.address).await.expect("it is accepted");
    connection.write_all(text.as_bytes()).await.expect("it is taken");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, connection.read_to_end(&mut answer)).await.expect("the server ends it");
    // A server that does not read all that was sent may end the connection hard.
    if let Err(error) = read {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(answer).expect("it is text")
}

fn call(headers: &str, body: &str) -> String {
    format!("POST /api/query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}")
}

async fn assert_serves(server: &Server) {
    let answer = exchange(server, "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_its_connection() {
    let server = Server::start(&limits(""));
    let heads = ["", "GET /version HT", "GET /version HTTP/1.1\r\nHost: x\r\n"];
    for answer in join_all(heads.map(|head| exchange(&server, head))).await {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start(&limits(""));
    let large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let answer = exchange(&server, &call(&large, "")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_and_gives_its_room_back() {
    let server = Server::start(&limits(""));
    let most = "x".repeat(80_000);
    let answer = exchange(&server, &call("Content-Length: 90000\r\n", &most)).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("RequestTimeout"), "{answer}");
    let unknown = format!(r#"{{"path":"a:b","args":{{}},"x":"{most}"}}"#);
    let answer = exchange(&server, &call(&format!("Content-Length: {}\r\n", unknown.len()), &unknown)).await;
    assert!(answer.contains("Could not find function"), "{answer}");
}

#[tokio::test]
async fn bodies_wait_for_memory_and_small_ones_need_none() {
    let server = Server::start(&limits("").replace("body_ms_max = 3000", "body_ms_max = 60000"));
    // There is room for one; which of the three has it does not matter.
    let body = format!(r#"{{"path":"a:b","args":{{}},"x":"{}"}}"#, "x".repeat(80_000));
    let (most, rest) = body.split_at(70_000);
    let mut large = Vec::new();
    for _ in 0..3 {
        let mut connection = TcpStream::connect(&server.address).await.expect("it is accepted");
        let head = call(&format!("Content-Length: {}\r\n", body.len()), most);
        connection.write_all(head.as_bytes()).await.expect("it is taken");
        large.push(connection);
    }
    let answer = exchange(&server, &call("Content-Length: 25\r\n", r#"{"path":"a:b","args":{} }"#)).await;
    assert!(answer.contains("Could not find function"), "small ones need no room: {answer}");
    // Each gets its turn once the one before has come and is answered.
    let answers = large.into_iter().map(async |mut connection| {
        connection.write_all(rest.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        let read = timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("it is answered");
        read.expect("it is text");
        answer
    });
    for answer in join_all(answers).await {
        assert!(answer.contains("Could not find function"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused() {
    let server = Server::start(&limits(""));
    let answer = exchange(&server, &call("Content-Length: 200000\r\n", "")).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("RequestTooLarge"), "{answer}");
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    let chunked = call("Transfer-Encoding: chunked\r\n", &format!("{chunk}{chunk}0\r\n\r\n"));
    let answer = exchange(&server, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("RequestTooLarge"), "{answer}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let server = Server::start(&limits("connections_max = 4"));
    let began = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(&server.address).await.expect("it is accepted"));
    }
    assert_serves(&server).await;
    assert!(began.elapsed() > Duration::from_secs(2), "it was served beside four that were there before");
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_ended() {
    let server = Server::start(&limits(
        "write_stall_ms_max = 500\nechoes_in_flight_max = 1\necho_body_bytes_max = 33554432",
    ));
    let mut stalled = TcpStream::connect(&server.address).await.expect("it is accepted");
    let length = 32 << 20;
    let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    stalled.write_all(head.as_bytes()).await.expect("it is taken");
    stalled.write_all(&vec![b'x'; length]).await.expect("it is taken");
    // The only place is its own until what it does not take is given up.
    let echo = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    let answer = exchange(&server, echo).await;
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    drop(stalled);
}

#[tokio::test]
async fn who_asks_while_it_stops_is_answered_and_sent_elsewhere() {
    let server = Server::start("[limits.gateway]\nlast_request_ms = 8000\n");
    let mut connection = TcpStream::connect(&server.address).await.expect("it is accepted");
    let kept = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write_all(kept.as_bytes()).await.expect("it is taken");
    let mut first = vec![0; 4_096];
    let length = connection.read(&mut first).await.expect("it is answered");
    let first = String::from_utf8_lossy(&first[..length]).to_lowercase();
    assert!(first.starts_with("http/1.1 200 ") && !first.contains("connection: close"), "{first}");
    kill_process(Pid::from_child(&server.process), Signal::TERM).expect("it runs");
    let begun = Instant::now();
    while TcpStream::connect(&server.address).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it goes on accepting connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    connection.write_all(kept.as_bytes()).await.expect("it is taken");
    let mut last = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut last))
        .await
        .expect("the server ends it")
        .expect("it is text");
    let last = last.to_lowercase();
    assert!(last.starts_with("http/1.1 200 ") && last.contains("connection: close"), "{last}");
}
