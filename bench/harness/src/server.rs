//! Tidemark as its users run it: the binary, in a process of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::processes;

/// How long a server may take until it serves.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// What a server takes in memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident_bytes: u64,
    /// Of that, what no file is behind.
    pub anonymous_bytes: u64,
    /// Of that, what is mapped of files that are in memory only.
    pub shared_bytes: u64,
}

/// What a server says of its mutations.
#[derive(Clone, Copy, Debug)]
pub struct Mutations {
    asked_for: f64,
    runs: f64,
}

impl Mutations {
    /// How often each ran that was asked for since `before`.
    pub fn runs_each_since(&self, before: &Mutations) -> f64 {
        (self.runs - before.runs) / (self.asked_for - before.asked_for)
    }
}

/// A running server; dropping it kills it.
pub struct Server {
    pub address: SocketAddr,
    pub url: String,
    pub admin_key: String,
    /// From the start of the process until it served.
    pub started_in: Duration,
    /// Where it tells its metrics. A version from before there were any does not.
    metrics_url: Option<String>,
    /// The folder with everything that it stores.
    data: PathBuf,
    process: Child,
    client: reqwest::Client,
}

impl Server {
    /// The binary that was built beside the running program.
    pub fn binary() -> Result<PathBuf> {
        Ok(std::env::current_exe()?.with_file_name("tidemark"))
    }

    /// The binaries that are compared: those that were given, or else the one that was built beside the running program.
    pub fn binaries(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
        match given.is_empty() {
            true => Ok(vec![Server::binary()?]),
            false => Ok(given.to_vec()),
        }
    }

    /// Starts `binary` on the folder `data`, on free ports, and waits until it serves.
    pub async fn start(binary: &Path, data: &Path) -> Result<Server> {
        Server::start_with(binary, data, None).await
    }

    /// The same with a configuration file.
    pub async fn start_with(binary: &Path, data: &Path, config: Option<&Path>) -> Result<Server> {
        let mut command = Command::new(binary);
        command
            .args(["dev", "--port", "0", "--site-port", "0", "--data-dir"])
            .arg(data)
            .args(config.map(|config| [Path::new("--config"), config]).into_iter().flatten())
            .env("TIDEMARK_METRICS_PORT", "0");
        Server::of(command, data).await
    }

    /// Starts a node of a cluster, whose configuration names `data`, and waits until it serves. What it logs is added to `log`.
    pub(crate) async fn start_node(
        binary: &Path,
        data: &Path,
        config: &Path,
        log: std::fs::File,
    ) -> Result<Server> {
        let mut command = Command::new(binary);
        command.args(["serve", "--config"]).arg(config).stderr(log);
        Server::of(command, data).await
    }

    async fn of(mut command: Command, data: &Path) -> Result<Server> {
        let environment = data.join("env");
        // It is there once the server serves, and only then; one that was killed leaves it behind.
        if environment.exists() {
            std::fs::remove_file(&environment)?;
        }
        let started = Instant::now();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        while !environment.exists() {
            if let Some(status) = process.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            if started.elapsed() > START_TIME_MAX {
                bail!("{command:?} did not begin to serve within {START_TIME_MAX:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let started_in = started.elapsed();
        let environment = std::fs::read_to_string(&environment)?;
        let variable = |name: &str| {
            let line = environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.map(|value| value.trim_matches('\'').to_owned())
                .with_context(|| format!("{name} is not in the env file"))
        };
        let url = variable("CONVEX_SELF_HOSTED_URL")?;
        let admin_key = variable("CONVEX_SELF_HOSTED_ADMIN_KEY")?;
        let metrics_url = variable("TIDEMARK_METRICS_URL").ok();
        let address = url.trim_start_matches("http://").parse().context("the URL is an address")?;
        let client = crate::client();
        Ok(Server {
            address,
            url,
            admin_key,
            started_in,
            metrics_url,
            data: data.to_owned(),
            process,
            client,
        })
    }

    /// Calls a function of the app by the HTTP API and returns its value; `kind` is `query`, `mutation` or `action`.
    pub async fn call(&self, kind: &str, path: &str, arguments: Value) -> Result<Value> {
        let answer: Value = self
            .client
            .post(format!("{}/api/{kind}", self.url))
            .json(&json!({"path": path, "format": "json", "args": arguments}))
            .send()
            .await?
            .json()
            .await?;
        if answer["status"] != "success" {
            bail!("{path}: {answer}");
        }
        Ok(answer["value"].clone())
    }

    /// Its mutations so far; nothing where it tells no metrics.
    pub async fn mutations(&self) -> Result<Option<Mutations>> {
        let Some(text) = self.metrics().await? else { return Ok(None) };
        let metric = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = line.with_context(|| format!("{name} is not among the metrics"))?.parse();
            value.with_context(|| format!("{name} is a number"))
        };
        Ok(Some(Mutations {
            asked_for: metric("tidemark_runner_mutations_total")?,
            runs: metric("tidemark_runner_mutation_attempts_total")?,
        }))
    }

    /// The value of a series of its metrics, by its name with its labels; nothing if it has none of that name.
    pub async fn metric(&self, series: &str) -> Result<Option<f64>> {
        let text = self.metrics().await?.unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().with_context(|| format!("{series} is a number"))).transpose()
    }

    /// What it says that it takes, by the names of the metrics, in bytes; nothing where it tells no metrics.
    pub async fn sizes(&self) -> Result<BTreeMap<String, f64>> {
        let text = self.metrics().await?.unwrap_or_default();
        let size = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.strip_suffix("_size_bytes")?.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(size).collect())
    }

    async fn metrics(&self) -> Result<Option<String>> {
        match &self.metrics_url {
            Some(url) => Ok(Some(self.client.get(url).send().await?.text().await?)),
            None => Ok(None),
        }
    }

    /// Bytes of the files with its state, without the log.
    pub fn state_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.data.join("state"))? {
            // A file may go while it is looked at.
            bytes += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(bytes)
    }

    /// Installs what the app in a folder needs, and pushes it.
    pub async fn push(&self, app: &Path) -> Result<()> {
        Server::install(app).await?;
        self.deploy(app).await
    }

    /// Installs the packages that the app in a folder needs, the command line tool among them.
    pub async fn install(app: &Path) -> Result<()> {
        processes::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(app)).await?;
        Ok(())
    }

    /// Pushes the app in a folder by the official command line tool, which is installed there.
    pub async fn deploy(&self, app: &Path) -> Result<()> {
        processes::run(
            Command::new("npx")
                .args(["convex", "deploy"])
                .env("CI", "1")
                .env("CONVEX_SELF_HOSTED_URL", &self.url)
                .env("CONVEX_SELF_HOSTED_ADMIN_KEY", &self.admin_key)
                .current_dir(app),
        )
        .await?;
        Ok(())
    }

    /// Processor time that the server has taken so far, in the kernel too.
    pub fn cpu_time(&self) -> Result<Duration> {
        processes::cpu_time(self.process.id().context("the server has ended")?)
    }

    /// Memory that the server takes now.
    pub fn memory(&self) -> Result<Memory> {
        let status = self.of_process("status")?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches("kB").trim();
            Ok::<_, anyhow::Error>(kilobytes.parse::<u64>().context("it is a number")? * 1024)
        };
        Ok(Memory {
            resident_bytes: bytes("VmRSS")?,
            anonymous_bytes: bytes("RssAnon")?,
            shared_bytes: bytes("RssShmem")?,
        })
    }

    /// How many threads it has now.
    pub fn threads(&self) -> Result<u64> {
        let status = self.of_process("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).context("no Threads")?;
        line.trim().parse().context("it is a number")
    }

    /// What the files without a name that the server holds take in memory, whether they are mapped or not.
    pub fn memory_file_bytes(&self) -> Result<u64> {
        let id = self.process.id().context("the server has ended")?;
        let mut bytes = 0;
        for entry in std::fs::read_dir(format!("/proc/{id}/fd"))? {
            let path = entry?.path();
            // A file may be closed while it is looked at.
            let Ok(target) = std::fs::read_link(&path) else { continue };
            if target.to_string_lossy().starts_with("/memfd:") {
                // Of 512 bytes, whatever the block size (stat(2)).
                bytes += std::fs::metadata(&path).map_or(0, |metadata| metadata.blocks() * 512);
            }
        }
        Ok(bytes)
    }

    fn of_process(&self, file: &str) -> Result<String> {
        let id = self.process.id().context("the server has ended")?;
        Ok(std::fs::read_to_string(format!("/proc/{id}/{file}"))?)
    }

    /// Stops it as an operator would, and waits.
    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "TERM").await
    }

    /// Kills it, as a crash would.
    pub async fn kill(self) -> Result<()> {
        processes::stop(self.process, "KILL").await
    }
}
