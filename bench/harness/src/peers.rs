//! The peers' parts: PostgreSQL 15 with durable commits, and Node.js servers.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::processes;

const BINARIES: &str = "/usr/lib/postgresql/15/bin";

/// A PostgreSQL on a folder of its own.
pub struct Postgres {
    process: Child,
    port: u16,
}

impl Postgres {
    /// Whether it is installed.
    pub fn is_there() -> bool {
        Path::new(BINARIES).join("postgres").exists()
    }

    /// Starts it in `folder`, which must be there.
    pub async fn start(folder: &Path) -> Result<Postgres> {
        let data: PathBuf = folder.join("postgres");
        std::fs::create_dir(&data)?;
        // PostgreSQL does not run as root.
        let as_root = processes::run(Command::new("id").arg("-u")).await?.trim() == "0";
        if as_root {
            processes::run(Command::new("chown").arg("postgres").arg(&data)).await?;
            processes::run(Command::new("chmod").arg("755").arg(folder)).await?;
        }
        let command = |program: &str| {
            let program = format!("{BINARIES}/{program}");
            if as_root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", &program]);
                command
            } else {
                Command::new(program)
            }
        };
        processes::run(command("initdb").arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres"]))
            .await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            format!("unix_socket_directories={}", data.display()),
            "synchronous_commit=on".to_owned(),
            "fsync=on".to_owned(),
            "max_connections=300".to_owned(),
            "max_pred_locks_per_transaction=256".to_owned(),
            "shared_buffers=1GB".to_owned(),
            "max_wal_size=4GB".to_owned(),
        ];
        let mut server = command("postgres");
        server.arg("-D").arg(&data).args(settings.iter().flat_map(|setting| ["-c", setting]));
        let process = server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let postgres = Postgres { process, port };
        let mut ready = postgres.psql("select 1").await;
        for _ in 0..100 {
            if ready.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            ready = postgres.psql("select 1").await;
        }
        ready.context("PostgreSQL did not start within 10 s")?;
        Ok(postgres)
    }

    /// By which clients reach it.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What a command of SQL prints.
    pub async fn psql(&self, sql: &str) -> Result<String> {
        let port = self.port.to_string();
        processes::run(
            Command::new(format!("{BINARIES}/psql"))
                .args([
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "postgres",
                    "-qAt",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-p",
                    &port,
                    "-c",
                    sql,
                ])
                .arg("postgres"),
        )
        .await
    }

    /// Processor time that it has taken so far, with all its processes.
    pub fn cpu_time(&self) -> Result<Duration> {
        processes::cpu_time(self.process.id().context("PostgreSQL has ended")?)
    }

    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "INT").await
    }
}

/// A server in Node.js that prints its port.
pub struct NodePeer {
    pub address: SocketAddr,
    process: Child,
}

impl NodePeer {
    /// Starts `server.mjs` in `folder` with these variables; installs its packages first if they are not there.
    pub async fn start(folder: &Path, variables: &[(&str, &str)]) -> Result<NodePeer> {
        if !folder.join("node_modules/.package-lock.json").exists() {
            processes::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
                .await?;
        }
        let mut process = Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("its output is piped")?;
        let port = BufReader::new(output).lines().next_line().await?.context("the peer prints its port")?;
        Ok(NodePeer { address: format!("127.0.0.1:{port}").parse()?, process })
    }

    /// Processor time that it has taken so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        processes::cpu_time(self.process.id().context("the peer has ended")?)
    }

    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "TERM").await
    }
}
