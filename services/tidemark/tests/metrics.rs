//! What operators scrape: a port of its own, if it is asked for.

mod server;

use std::time::{Duration, Instant};

use server::{PATIENCE, Server};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

async fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).await.expect("it is accepted");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("it is text");
    answer
}

fn metrics_address(server: &Server) -> Option<String> {
    let env = std::fs::read_to_string(server.folder.path().join("data/env")).expect("it serves");
    let url = env.lines().find_map(|line| line.strip_prefix("TIDEMARK_METRICS_URL="))?;
    Some(url.trim_matches('\'').strip_prefix("http://")?.strip_suffix("/metrics")?.to_owned())
}

#[tokio::test]
async fn what_is_documented_is_served_in_the_format_of_prometheus() {
    let server = Server::start("metrics_port = 0");
    let address = metrics_address(&server).expect("its address is told");
    assert_ne!(address, server.address);
    let answer = get(&address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    let reference = include_str!("../../../docs/reference/metrics.md");
    let rows = reference.lines().filter(|line| line.starts_with("| `tidemark_"));
    let mut documented: Vec<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            format!("# TYPE {} {}", cells[0].trim_matches(['|', ' ', '`']), cells[1])
        })
        .collect();
    let mut served: Vec<&str> = answer.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    documented.sort_unstable();
    served.sort_unstable();
    assert_eq!(served, documented);

    let told = reference.lines().find_map(|line| line.strip_prefix("Limits whose use is told: "));
    let of_node = |limit: &&str| limit.starts_with("node.");
    let mut told: Vec<&str> = told.expect("they are listed").split('`').skip(1).step_by(2).collect();
    told.retain(|limit| !of_node(limit));
    let mut used: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("tidemark_limit_used{limit=\"")?.split('"').next())
        .collect();
    told.sort_unstable();
    used.sort_unstable();
    assert_eq!(used, told);

    // No function is there that could run, and the question is one all the same.
    let sessions = |answer: &str| answer.lines().any(|line| line == "tidemark_fanout_sessions 0");
    assert!(sessions(&answer), "{answer}");
    assert!(get(&address, "/livez").await.starts_with("HTTP/1.1 200 OK"));
    let ready = get(&address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 OK") && ready.contains("\r\n\r\nready\n"), "{ready}");
    assert!(get(&address, "/").await.starts_with("HTTP/1.1 404 "));
    assert!(get(&server.address, "/metrics").await.starts_with("HTTP/1.1 404 "), "clients don't see them");
}

#[tokio::test]
async fn connections_that_bring_nothing_are_ended_and_the_next_ones_are_served() {
    let server =
        Server::start("metrics_port = 0\n[limits.monitoring]\nconnections_max = 2\nhead_ms_max = 2000\n");
    let address = metrics_address(&server).expect("its address is told");
    let began = Instant::now();
    let mut silent = Vec::new();
    for head in ["", "GET /livez HT"] {
        let mut connection = TcpStream::connect(&address).await.expect("it is accepted");
        connection.write_all(head.as_bytes()).await.expect("it is taken");
        silent.push(connection);
    }
    assert!(get(&address, "/livez").await.starts_with("HTTP/1.1 200 OK"));
    assert!(began.elapsed() > Duration::from_secs(1), "it was served beside two that were there before");
    for mut connection in silent {
        let read = timeout(PATIENCE, connection.read_to_end(&mut Vec::new())).await;
        read.expect("the server ends it").expect("it ends in order");
    }
}

#[tokio::test]
async fn no_port_is_opened_unasked() {
    let server = Server::start("");
    assert_eq!(metrics_address(&server), None);
}
