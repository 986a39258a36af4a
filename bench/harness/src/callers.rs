//! Callers, each with a connection of its own and one request under way.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rand::{SeedableRng, rngs::StdRng};
use tokio::net::TcpStream;

use crate::Report;

/// What an answer means.
pub enum Answer {
    Done,
    Failed(String),
}

impl Answer {
    /// To a call of a function over HTTP.
    pub fn of_function(status: u16, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        match status == 200 && text.contains("\"success\"") {
            true => Answer::Done,
            false => Answer::Failed(format!("{status} {text}")),
        }
    }
}

pub struct Callers {
    pub address: SocketAddr,
    pub callers: usize,
    /// Not counted.
    pub warm_up: Duration,
    pub duration: Duration,
    /// Caller k draws from `seed + k`.
    pub seed: u64,
}

/// Runs the callers and reports what they saw. A caller whose connection breaks ends the run with an error.
pub async fn run(
    callers: Callers,
    make: impl Fn(&mut StdRng) -> Request<Full<Bytes>> + Send + Sync + 'static,
    judge: impl Fn(u16, &[u8]) -> Answer + Send + Sync + 'static,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let make = Arc::new(make);
    let judge = Arc::new(judge);
    let begin = Instant::now() + callers.warm_up;
    let end = begin + callers.duration;
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers.callers {
        let (make, judge) = (make.clone(), judge.clone());
        let mut random = StdRng::seed_from_u64(callers.seed + caller as u64);
        let address = callers.address;
        tasks.spawn(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let mut latencies = Vec::new();
            let (mut failed, mut first_failure) = (0u64, None);
            loop {
                let start = Instant::now();
                if start >= end {
                    break;
                }
                sender.ready().await?;
                let answer = sender.send_request(make(&mut random)).await?;
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await?.to_bytes();
                let now = Instant::now();
                if now < begin || now > end {
                    continue;
                }
                match judge(status, &body) {
                    Answer::Done => latencies.push((now - start).as_micros() as u32),
                    Answer::Failed(text) => {
                        failed += 1;
                        first_failure.get_or_insert(text);
                    }
                }
            }
            drop(sender);
            connection.abort();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((latencies, failed, first_failure))
        });
    }
    let mut report = Report {
        answered: 0,
        failed: 0,
        elapsed: callers.duration,
        latencies_us: Vec::new(),
        first_failure: None,
    };
    while let Some(result) = tasks.join_next().await {
        let (latencies, failed, first_failure) = result??;
        report.answered += latencies.len() as u64;
        report.failed += failed;
        report.latencies_us.extend(latencies);
        report.first_failure = report.first_failure.or(first_failure);
    }
    report.latencies_us.sort_unstable();
    Ok(report)
}
