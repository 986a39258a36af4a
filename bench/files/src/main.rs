//! How fast files are stored and read, beside nginx on the same folder's disk, one after the other in turns; and what one large file takes
//! in memory. Several builds can be measured in one run; they take turns, too.
//!
//! nginx takes a file by `PUT` (`http_dav_module`) and sends it by `sendfile`. It neither syncs what it stores nor computes a digest; Tidemark
//! does both, and commits two transactions for each file, before it answers.
#![allow(clippy::print_stdout, reason = "a report is what this program is for")]

mod client;
mod nginx;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use client::{Address, download, upload};
use harness::{Server, Spread};
use nginx::Nginx;
use serde_json::json;

const MIB: u64 = 1 << 20;

/// Measures uploads and downloads.
#[derive(Parser)]
struct Arguments {
    /// Turns of each; the median counts.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// The large file of the comparison, in MiB.
    #[arg(long, default_value_t = 256)]
    mebibytes: u64,
    /// Small files in a turn.
    #[arg(long, default_value_t = 2_000)]
    small: u64,
    /// Bytes of each of them.
    #[arg(long, default_value_t = 16_384)]
    small_bytes: u64,
    /// Connections at once.
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// Only store and read one file of so many GiB, and watch the memory.
    #[arg(long)]
    gibibytes: Option<u64>,
    /// The folder with the app.
    #[arg(long, default_value = "bench/files/app")]
    app: PathBuf,
    /// A server; more than one are compared. By default the one built beside this program.
    #[arg(long)]
    tidemark: Vec<PathBuf>,
    /// A configuration file for it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the data is kept for the time of the run: both are to be on the same disk.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir_in(&arguments.folder)?;
    let mut subjects = Vec::new();
    for (number, binary) in Server::binaries(&arguments.tidemark)?.iter().enumerate() {
        let data = folder.path().join(format!("data-{number}"));
        let server = Server::start_with(binary, &data, arguments.config.as_deref()).await?;
        server.push(&arguments.app).await?;
        subjects.push(Tidemark { name: binary.display().to_string(), server: Arc::new(server) });
    }
    match arguments.gibibytes {
        Some(gibibytes) => {
            for tidemark in &subjects {
                large(tidemark, gibibytes).await?;
            }
            Ok(())
        }
        None => compare(&arguments, &subjects, folder.path()).await,
    }
}

/// Where files are stored and read.
#[derive(Clone)]
struct Tidemark {
    name: String,
    server: Arc<Server>,
}

impl Tidemark {
    /// Stores a file; its id comes back.
    async fn store(&self, bytes: u64) -> Result<String> {
        let url = self.server.call("mutation", "files:uploadUrl", json!({})).await?;
        let answer = upload("POST", &Address::of(url.as_str().context("it is a URL")?)?, bytes).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        Ok(answer["storageId"].as_str().with_context(|| format!("no file: {answer}"))?.to_owned())
    }

    async fn address(&self, id: &str) -> Result<Address> {
        let url = self.server.call("query", "files:url", json!({ "file": id })).await?;
        Address::of(url.as_str().context("it is a URL")?)
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.server.call("mutation", "files:remove", json!({ "file": id })).await?;
        Ok(())
    }
}

/// What is measured of each, in this order.
const MEASURED: [&str; 5] = [
    "one upload, MiB/s",
    "one download, MiB/s",
    "many downloads, MiB/s",
    "small uploads, 1/s",
    "small downloads, 1/s",
];

/// What one turn has measured.
type Rates = [f64; MEASURED.len()];

async fn compare(arguments: &Arguments, subjects: &[Tidemark], folder: &Path) -> Result<()> {
    let nginx = Nginx::start(&folder.join("nginx")).await?;
    if nginx.is_none() {
        println!("nginx is not installed (apt-get install nginx): Tidemark alone");
    }
    let mut names: Vec<&str> = subjects.iter().map(|tidemark| &*tidemark.name).collect();
    names.extend(nginx.as_ref().map(|_| "nginx"));
    let mut turns: Vec<Vec<Rates>> = vec![Vec::new(); names.len()];
    for _ in 0..arguments.turns {
        for (tidemark, turns) in subjects.iter().zip(&mut turns) {
            turns.push(turn_of_tidemark(arguments, tidemark).await?);
        }
        if let (Some(nginx), Some(turns)) = (&nginx, turns.get_mut(subjects.len())) {
            turns.push(turn_of_nginx(arguments, nginx).await?);
        }
    }
    for (number, name) in names.iter().enumerate() {
        println!("[{number}] {name}");
    }
    let row = |cell: &dyn Fn(&Vec<Rates>) -> String| -> String { turns.iter().map(cell).collect() };
    let last = turns.last().context("there is a server")?;
    println!("{:<24}{}   each beside the last", "", numbers(names.len()));
    for (what, name) in MEASURED.iter().enumerate() {
        let rates =
            row(&|turns| format!(" {:>10.0}", Spread::of(turns.iter().map(|turn| turn[what])).median()));
        // Of the ratios in each turn, which leaves out turns in which the machine had other things to do.
        let ratios = row(&|turns| {
            let ratios = turns.iter().zip(last).map(|(turn, last)| turn[what] / last[what]);
            format!(" {:>5.2}", Spread::of(ratios).median())
        });
        println!("{name:<24}{rates}  {ratios}");
    }
    if let Some(nginx) = nginx {
        nginx.stop().await?;
    }
    Ok(())
}

fn numbers(count: usize) -> String {
    (0..count).map(|number| format!(" {:>10}", format!("[{number}]"))).collect()
}

async fn turn_of_tidemark(arguments: &Arguments, tidemark: &Tidemark) -> Result<Rates> {
    let large = arguments.mebibytes * MIB;
    let begun = Instant::now();
    let id = tidemark.store(large).await?;
    let up = arguments.mebibytes as f64 / begun.elapsed().as_secs_f64();
    let address = tidemark.address(&id).await?;
    let one = downloads(&address, large, 1).await?;
    let many = downloads(&address, large, arguments.connections).await?;
    tidemark.remove(&id).await?;
    let (stored, read) = small_files_of_tidemark(arguments, tidemark).await?;
    Ok([up, one, many, stored, read])
}

async fn turn_of_nginx(arguments: &Arguments, nginx: &Nginx) -> Result<Rates> {
    let large = arguments.mebibytes * MIB;
    let address = nginx.address("large");
    let begun = Instant::now();
    upload("PUT", &address, large).await?;
    let up = arguments.mebibytes as f64 / begun.elapsed().as_secs_f64();
    let one = downloads(&address, large, 1).await?;
    let many = downloads(&address, large, arguments.connections).await?;
    let (stored, read) = small_files_of_nginx(arguments, nginx).await?;
    Ok([up, one, many, stored, read])
}

/// MiB per second of so many downloads at once.
async fn downloads(address: &Address, bytes: u64, connections: u64) -> Result<f64> {
    let begun = Instant::now();
    let reads = (0..connections).map(|_| {
        let address = address.clone();
        tokio::spawn(async move { download(&address).await })
    });
    for read in futures::future::join_all(reads).await {
        let read = read??;
        ensure!(read == bytes, "{read} of {bytes} bytes were read");
    }
    Ok((bytes * connections) as f64 / MIB as f64 / begun.elapsed().as_secs_f64())
}

/// Uploads and downloads per second.
async fn small_files_of_tidemark(arguments: &Arguments, tidemark: &Tidemark) -> Result<(f64, f64)> {
    let bytes = arguments.small_bytes;
    // One address does for all, as in an app that uploads a gallery.
    let url = tidemark.server.call("mutation", "files:uploadUrl", json!({})).await?;
    let address = Address::of(url.as_str().context("it is a URL")?)?;
    let stored = many(arguments, move |_| {
        let address = address.clone();
        async move {
            let answer = upload("POST", &address, bytes).await?;
            ensure!(answer.starts_with(b"{\"storageId\""), "{}", String::from_utf8_lossy(&answer));
            Ok(())
        }
    })
    .await?;
    let id = tidemark.store(bytes).await?;
    let address = tidemark.address(&id).await?;
    Ok((stored, small_downloads(arguments, address).await?))
}

async fn small_files_of_nginx(arguments: &Arguments, nginx: &Nginx) -> Result<(f64, f64)> {
    let bytes = arguments.small_bytes;
    let address = nginx.address("small");
    let one = address.clone();
    let stored = many(arguments, move |number| {
        let address = one.with_suffix(number);
        async move { upload("PUT", &address, bytes).await.map(drop) }
    })
    .await?;
    upload("PUT", &address, bytes).await?;
    Ok((stored, small_downloads(arguments, address).await?))
}

async fn small_downloads(arguments: &Arguments, address: Address) -> Result<f64> {
    let bytes = arguments.small_bytes;
    many(arguments, move |_| {
        let address = address.clone();
        async move {
            let read = download(&address).await?;
            ensure!(read == bytes, "{read} of {bytes} bytes were read");
            Ok(())
        }
    })
    .await
}

/// Requests per second, each on a connection of its own.
async fn many<F: Future<Output = Result<()>> + Send>(
    arguments: &Arguments,
    request: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
) -> Result<f64> {
    let (next, count) = (Arc::new(AtomicU64::new(0)), arguments.small);
    let begun = Instant::now();
    let callers = (0..arguments.connections).map(|_| {
        let (next, request) = (next.clone(), request.clone());
        async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                request(number).await?;
            }
        }
    });
    for ended in futures::future::join_all(callers).await {
        let ended: Result<()> = ended;
        ended?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// One large file up and down, and the memory that the server takes meanwhile.
async fn large(tidemark: &Tidemark, gibibytes: u64) -> Result<()> {
    let bytes = gibibytes << 30;
    // What the server takes for any file at all is there before.
    let warm = tidemark.store(64 * MIB).await?;
    download(&tidemark.address(&warm).await?).await?;
    let before = resident(&tidemark.server)?;
    let most = Arc::new(AtomicU64::new(before));
    let watching = {
        let (server, most) = (tidemark.server.clone(), most.clone());
        tokio::spawn(async move {
            loop {
                if let Ok(now) = resident(&server) {
                    most.fetch_max(now, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let begun = Instant::now();
    let id = tidemark.store(bytes).await?;
    let stored = begun.elapsed();
    let most_up = most.swap(before, Ordering::Relaxed);
    let begun = Instant::now();
    let read = download(&tidemark.address(&id).await?).await?;
    ensure!(read == bytes, "{read} of {bytes} bytes were read");
    let read = begun.elapsed();
    let most_down = most.load(Ordering::Relaxed);
    watching.abort();
    let rate = |time: Duration| (bytes / MIB) as f64 / time.as_secs_f64();
    println!("{}", tidemark.name);
    println!("resident before: {} MiB", before / MIB);
    println!("{gibibytes} GiB up:   {:>6.0} MiB/s, at most {} MiB resident", rate(stored), most_up / MIB);
    println!("{gibibytes} GiB down: {:>6.0} MiB/s, at most {} MiB resident", rate(read), most_down / MIB);
    Ok(())
}

fn resident(server: &Server) -> Result<u64> {
    Ok(server.memory()?.resident_bytes)
}
