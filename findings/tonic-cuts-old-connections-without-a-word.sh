#!/usr/bin/env bash
# crate tonic 0.14.9: a server with `max_connection_age` and `max_connection_age_grace` tells nobody that a connection is old. It lets calls
# begin on it until the grace is over, and then cuts all of them.
#
# The guess, from the documentation of the grace: at the age the server begins to shut the connection down gracefully, so that what begins
# goes over another one, and the grace is what calls that are under way may still take.
# What happens: with a grace there is no graceful part. The server waits for the age and the grace together and then ends the connection
# forcefully; until then a new call goes over the old connection, also one that begins a moment before the end. Without a grace it
# is as one would expect at the age, and then there is no bound: a stream that lasts for ever keeps its connection for ever.
# What follows for a server: leave the grace out, and bound the life of a connection below the library (a reader and writer that fail
# when the time is over).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/src"
cd "$folder"
cat > Cargo.toml <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[dependencies]
tonic = "=0.14.9"
tonic-health = "=0.14.9"
tokio = { version = "1.48", features = ["macros", "net", "rt-multi-thread", "time"] }
tokio-stream = { version = "0.1", features = ["net"] }
TOML
cat > src/main.rs <<'RS'
use std::{
    sync::{Arc, atomic::{AtomicUsize, Ordering}},
    time::Duration,
};

use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const AGE: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(6);

/// How many connections there were after calls well behind the age, and whether a stream from before it outlives age and grace.
async fn look(grace: Option<Duration>) -> (usize, bool) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counting = accepted.clone();
    let incoming = TcpListenerStream::new(listener).map(move |connection| {
        counting.fetch_add(1, Ordering::Relaxed);
        connection
    });
    let (_reporter, health) = tonic_health::server::health_reporter();
    let mut server = tonic::transport::Server::builder().max_connection_age(AGE);
    if let Some(grace) = grace {
        server = server.max_connection_age_grace(grace);
    }
    tokio::spawn(server.add_service(health).serve_with_incoming(incoming));

    let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect_lazy();
    let request = || HealthCheckRequest { service: String::new() };
    let mut stream = HealthClient::new(channel.clone()).watch(request()).await.unwrap().into_inner();
    stream.next().await.expect("the state at present").unwrap();
    tokio::time::sleep(AGE * 2).await;
    for _ in 0..10 {
        // The first one behind a word of the server's may fail, unsent.
        let _ = HealthClient::new(channel.clone()).check(request()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let connections = accepted.load(Ordering::Relaxed);
    let ended = tokio::time::timeout(AGE + GRACE + AGE, stream.next()).await;
    (connections, ended.is_err())
}

#[tokio::main]
async fn main() {
    for (name, grace) in [("with a grace", Some(GRACE)), ("without one", None)] {
        let (connections, is_alive) = look(grace).await;
        println!("{name}: {connections} connections after the age, the stream {}", if is_alive { "goes on" } else { "was cut" });
    }
}
RS
CARGO_TARGET_DIR="$folder/target" cargo build --quiet
timeout 60 target/debug/probe | tee output
diff output - <<'OUTPUT'
with a grace: 1 connections after the age, the stream was cut
without one: 2 connections after the age, the stream goes on
OUTPUT
echo "as found"
