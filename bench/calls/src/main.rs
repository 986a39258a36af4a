//! What a call costs: lists of 20, 200 and 2,000 documents, and inserts of 1 and of 100, by one caller over HTTP.
//!
//! One run measures Tidemark and its peers on the same machine: Node.js with SQLite (better-sqlite3, WAL, synchronous FULL)
//! and Node.js with PostgreSQL. Several builds of Tidemark can be measured in one run. They all take turns, round after
//! round, so that all meet the same disturbances. Processor time is what counts: of the server with all its processes, per
//! answered call. The machine's load stands beside it.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use harness::{
    Server, Spread,
    peers::{NodePeer, Postgres},
    processes,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

const WARM_UP: Duration = Duration::from_millis(500);

/// Documents that lists read from.
const DOCUMENTS: usize = 2_000;

/// What is called, with how many documents, and by which path of the function API.
const WORKS: [(&str, &str, &str, usize); 6] = [
    ("nothing", "query", "things:nothing", 0),
    ("list 20", "query", "things:list", 20),
    ("list 200", "query", "things:list", 200),
    ("list 2,000", "query", "things:list", 2_000),
    ("insert 1", "mutation", "things:insert", 1),
    ("insert 100", "mutation", "things:insert", 100),
];

/// Measures calls.
#[derive(Parser)]
struct Arguments {
    /// How long each turn lasts, after a warm-up of half a second.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many turns each has, with each work.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// The folder with the app and the peers.
    #[arg(long, default_value = "bench/calls")]
    folder: PathBuf,
    /// Measures Tidemark alone.
    #[arg(long)]
    without_peers: bool,
}

/// Who is called.
enum Subject {
    Tidemark(Box<Server>),
    Node(Box<NodePeer>, Option<Box<Postgres>>),
}

impl Subject {
    fn address(&self) -> SocketAddr {
        match self {
            Subject::Tidemark(server) => server.address,
            Subject::Node(node, _) => node.address,
        }
    }

    fn cpu_time(&self) -> Result<Duration> {
        match self {
            Subject::Tidemark(server) => server.cpu_time(),
            Subject::Node(node, database) => {
                let database = database.as_ref().map(|database| database.cpu_time()).transpose()?;
                Ok(node.cpu_time()? + database.unwrap_or_default())
            }
        }
    }

    async fn stop(self) -> Result<()> {
        match self {
            Subject::Tidemark(server) => server.stop().await,
            Subject::Node(node, database) => {
                node.stop().await?;
                match database {
                    Some(database) => database.stop().await,
                    None => Ok(()),
                }
            }
        }
    }
}

/// A turn.
#[derive(Clone, Copy)]
struct Turn {
    cpu_us: f64,
    p50_us: f64,
}

async fn turn(subject: &Subject, arguments: &Arguments, work: usize) -> Result<Turn> {
    let (name, kind, path, count) = WORKS[work];
    let address = subject.address();
    let args = if count == 0 { json!({}) } else { json!({ "count": count }) };
    let body = json!({ "path": path, "format": "json", "args": args }).to_string();
    let mut connection = Connection::open(address).await?;
    let request = || {
        Request::post(format!("/api/{kind}"))
            .header("host", address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.clone())))
            .expect("the parts are valid")
    };
    let check = |(status, body): (u16, Bytes)| {
        // Whether all documents are there: each has one tag of this name.
        let found = body.windows(5).filter(|part| part == b"green").count();
        let is_whole = kind != "query" || found == count;
        let is_right = status == 200 && body.starts_with(b"{\"status\":\"success\"") && is_whole;
        ensure!(is_right, "{name}: {status}, {found} documents: {}", String::from_utf8_lossy(&body));
        Ok(())
    };
    let warm_up = Instant::now();
    while warm_up.elapsed() < WARM_UP {
        check(connection.call(request()).await?)?;
    }
    let (before, started) = (subject.cpu_time()?, Instant::now());
    let mut latencies = Vec::new();
    // Until a call ends after the time, so that what is measured is whole calls.
    while started.elapsed() < Duration::from_secs(arguments.seconds) {
        let call = Instant::now();
        check(connection.call(request()).await?)?;
        latencies.push(call.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = subject.cpu_time()? - before;
    let cpu_us = cpu.as_secs_f64() * 1e6 / latencies.len() as f64;
    Ok(Turn { cpu_us, p50_us: Spread::of(latencies).median() })
}

/// The one caller's connection.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    task: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, task: tokio::spawn(connection) })
    }

    async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes)> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        Ok((answer.status().as_u16(), answer.into_body().collect().await?.to_bytes()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(arguments: &Arguments, folder: &std::path::Path) -> Result<Vec<(String, Subject)>> {
    let binaries = Server::binaries(&arguments.tidemark)?;
    let mut subjects = Vec::new();
    for (number, binary) in binaries.iter().enumerate() {
        let server = Server::start(binary, &folder.join(number.to_string())).await?;
        server.push(&arguments.folder.join("app")).await?;
        for from in (0..DOCUMENTS).step_by(500) {
            server.call("mutation", "things:fill", json!({"from": from, "to": from + 500})).await?;
        }
        subjects.push((format!("Tidemark {}", binary.display()), Subject::Tidemark(Box::new(server))));
    }
    if arguments.without_peers {
        return Ok(subjects);
    }
    let peer = arguments.folder.join("peer");
    let documents = DOCUMENTS.to_string();
    let file = folder.join("sqlite.db");
    let variables =
        [("DOCUMENTS", &*documents), ("SQLITE_FILE", file.to_str().context("the folder's name is text")?)];
    let node = NodePeer::start(&peer, &variables).await?;
    subjects.push(("Node.js + SQLite".to_owned(), Subject::Node(Box::new(node), None)));
    if Postgres::is_there() {
        let database = Postgres::start(folder).await?;
        let variables = [("DOCUMENTS", &*documents), ("DATABASE_URL", &*database.url())];
        let node = NodePeer::start(&peer, &variables).await?;
        subjects.push((
            "Node.js + PostgreSQL".to_owned(),
            Subject::Node(Box::new(node), Some(Box::new(database))),
        ));
    }
    Ok(subjects)
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let subjects = start(&arguments, folder.path()).await?;
    println!(
        "{} rounds of {} s, one caller; processor time per call in microseconds: median (lowest to highest)",
        arguments.rounds, arguments.seconds
    );
    for (work, (name, ..)) in WORKS.iter().enumerate() {
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); subjects.len()];
        for _ in 0..arguments.rounds {
            for ((_, subject), turns) in subjects.iter().zip(&mut turns) {
                turns.push(turn(subject, &arguments, work).await?);
            }
        }
        println!("{name} (load {})", processes::load());
        for ((subject, _), of_subject) in subjects.iter().zip(&turns) {
            let cpu = Spread::of(of_subject.iter().map(|turn| turn.cpu_us));
            let p50 = Spread::of(of_subject.iter().map(|turn| turn.p50_us)).median();
            // Within each round, which leaves out what the machine did besides.
            let ratio =
                Spread::of(of_subject.iter().zip(&turns[0]).map(|(one, first)| first.cpu_us / one.cpu_us))
                    .median();
            println!("  {subject:<44} {cpu:>8}   p50 {p50:>8.0}   {ratio:>6.2} of the first's speed");
        }
    }
    for (_, subject) in subjects {
        subject.stop().await?;
    }
    Ok(())
}
