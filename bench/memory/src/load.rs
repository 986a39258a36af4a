//! The mixed load: calls of every kind, over HTTP, until it is stopped.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use harness::Server;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::{net::TcpStream, task::JoinHandle};

/// Topics that notes are of.
const TOPICS: u32 = 200;
const TEXT_BYTES: usize = 200;

pub struct Load {
    stopping: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Result<(u64, u64)>>>,
}

impl Load {
    /// Caller k draws from `seed + k`.
    pub fn start(server: &Server, callers: usize, seed: u64) -> Load {
        let stopping = Arc::new(AtomicBool::new(false));
        let callers = (0..callers)
            .map(|caller| tokio::spawn(call(server.address, seed + caller as u64, stopping.clone())))
            .collect();
        Load { stopping, callers }
    }

    /// How many calls were answered, and how many failed. An error if a connection broke.
    pub async fn stop(self) -> Result<(u64, u64)> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut sum = (0, 0);
        for caller in self.callers {
            let (answered, failed) = caller.await??;
            sum = (sum.0 + answered, sum.1 + failed);
        }
        Ok(sum)
    }
}

async fn call(address: SocketAddr, seed: u64, stopping: Arc<AtomicBool>) -> Result<(u64, u64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let stream = TcpStream::connect(address).await.context("connect a caller")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(hyper_util::rt::TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (mut answered, mut failed) = (0, 0);
    while !stopping.load(Ordering::Relaxed) {
        sender.ready().await?;
        let answer = sender.send_request(request(address, &mut random)).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        // What a function threw is answered with 200 as well.
        if status.is_success() && body.windows(9).any(|part| part == b"\"success\"") {
            answered += 1;
        } else {
            failed += 1;
        }
    }
    drop(sender);
    connection.abort();
    Ok((answered, failed))
}

fn request(address: SocketAddr, random: &mut dyn Rng) -> Request<Full<Bytes>> {
    let topic = random.random_range(0..TOPICS);
    let (kind, path, arguments) = match random.random_range(0..10) {
        0..3 => {
            let text: String =
                (0..TEXT_BYTES).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
            ("mutation", "notes:add", format!(r#"{{"topic":{topic},"text":"{text}"}}"#))
        }
        3 => ("mutation", "notes:vote", format!(r#"{{"topic":{topic}}}"#)),
        4..7 => ("query", "notes:list", format!(r#"{{"topic":{topic},"count":20}}"#)),
        7 => ("query", "notes:list", format!(r#"{{"topic":{topic},"count":100}}"#)),
        _ => ("query", "notes:part", format!(r#"{{"number":{}}}"#, random.random_range(0..100_000))),
    };
    Request::post(format!("/api/{kind}"))
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(format!(r#"{{"path":"{path}","format":"json","args":{arguments}}}"#))))
        .expect("the parts are valid")
}
