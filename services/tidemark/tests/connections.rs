//! Connections that bring what they should not, or nothing: each is ended, and the next one is served.

mod server;

use std::time::Duration;

use server::{PATIENCE, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const LIMITS: &str = "[limits.gateway]\nhead_ms_max = 300\nbody_ms_max = 300\nhead_bytes_max = 8192\n\
    api_body_bytes_max = 100000\nbodies_bytes_max = 100000\nconnections_max = 4\n\
    [limits.function]\narguments_bytes_max = 90000\n";

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
    let server = Server::start(LIMITS);
    for head in ["", "GET /version HT", "GET /version HTTP/1.1\r\nHost: x\r\n"] {
        let answer = exchange(&server, head).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{head:?}: {answer}");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start(LIMITS);
    let large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let answer = exchange(&server, &call(&large, "")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_and_gives_its_room_back() {
    let server = Server::start(LIMITS);
    for _ in 0..2 {
        let answer = exchange(&server, &call("Content-Length: 90000\r\n", "{")).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("RequestTimeout"), "{answer}");
    }
    let call = call("Content-Length: 32\r\n", r#"{"path":"a:b","args":{},"x":123}"#);
    let answer = exchange(&server, &call).await;
    assert!(answer.contains("Could not find function"), "{answer}");
}

#[tokio::test]
async fn bodies_wait_for_memory_and_are_refused_if_there_is_none() {
    let server = Server::start(LIMITS);
    let slow = call("Content-Length: 90000\r\n", "{");
    let later = async |milliseconds| {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        exchange(&server, &slow).await
    };
    // There is room for one at a time. Of two that wait for the first one's, one waits in vain.
    let (first, second, third) = tokio::join!(later(0), later(20), later(40));
    assert!(first.contains("RequestTimeout"), "{first}");
    let is_refused =
        |answer: &String| answer.starts_with("HTTP/1.1 503 ") && answer.contains("TooManyRequestBytes");
    assert!([&second, &third].into_iter().any(is_refused), "{second}\n{third}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_refused() {
    let server = Server::start(LIMITS);
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
    let server = Server::start(LIMITS);
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(&server.address).await.expect("it is accepted"));
    }
    // The idle ones go when their heads have not come in time.
    assert_serves(&server).await;
}
