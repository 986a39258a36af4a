//! The peer: PostgreSQL 15 with durable commits, and a Node.js server in front of it.

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

use harness::processes;

const BINARIES: &str = "/usr/lib/postgresql/15/bin";

pub struct Postgres {
    process: Child,
    port: u16,
}

/// A transfer as the peer takes it.
pub fn body(from: usize, to: usize) -> String {
    format!(r#"{{"from":{from},"to":{to},"amount":1}}"#)
}

impl Postgres {
    pub async fn start(folder: &Path, accounts: usize, balance: u64) -> Result<Postgres> {
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
        postgres
            .psql(&format!(
                "create table accounts (number int primary key, balance bigint not null); \
                 insert into accounts select n, {balance} from generate_series(0, {}) n; \
                 create function transfer(payer int, payee int, amount bigint) returns void language plpgsql as $$ \
                 declare found_payer bigint; found_payee bigint; begin \
                 select balance into strict found_payer from accounts where number = payer; \
                 select balance into strict found_payee from accounts where number = payee; \
                 if found_payer < amount then raise exception 'account % has only %', payer, found_payer; end if; \
                 update accounts set balance = found_payer - amount where number = payer; \
                 update accounts set balance = found_payee + amount where number = payee; end $$; \
                 alter role postgres set default_transaction_isolation = 'serializable';",
                accounts - 1
            ))
            .await?;
        postgres.psql("vacuum analyze accounts").await?;
        postgres.psql("checkpoint").await?;
        Ok(postgres)
    }

    async fn psql(&self, sql: &str) -> Result<String> {
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

    /// The sum of all balances.
    pub async fn total(&self) -> Result<u64> {
        Ok(self.psql("select sum(balance) from accounts").await?.trim().parse()?)
    }

    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "INT").await
    }
}

pub struct NodePeer {
    pub address: SocketAddr,
    process: Child,
}

impl NodePeer {
    pub async fn start(database: &Postgres, connections: usize, folder: &Path) -> Result<NodePeer> {
        processes::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))
            .await?;
        let mut process = Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .env("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{}/postgres", database.port))
            .env("POOL_CONNECTIONS", connections.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("its output is piped")?;
        let port = BufReader::new(output).lines().next_line().await?.context("the peer prints its port")?;
        Ok(NodePeer { address: format!("127.0.0.1:{port}").parse()?, process })
    }

    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "TERM").await
    }
}
