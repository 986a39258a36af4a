//! Tidemark as its users run it: the binary, the app pushed by the official command line tool, the HTTP API.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::processes;

pub struct Tidemark {
    pub address: SocketAddr,
    url: String,
    process: Child,
}

/// A transfer as the function API takes it.
pub fn body(from: usize, to: usize) -> String {
    format!(r#"{{"path":"accounts:transfer","format":"json","args":{{"from":{from},"to":{to},"amount":1}}}}"#)
}

impl Tidemark {
    pub async fn start(binary: &Path, folder: &Path) -> Result<Tidemark> {
        let data = folder.join("tidemark");
        let process = Command::new(binary)
            .args(["dev", "--port", "0", "--site-port", "0", "--data-dir"])
            .arg(&data)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let environment = data.join("env");
        for _ in 0..300 {
            if environment.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let environment =
            std::fs::read_to_string(&environment).context("Tidemark did not begin to serve within 30 s")?;
        let variable = |name: &str| {
            let line = environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.map(|value| value.trim_matches('\'').to_owned())
                .with_context(|| format!("{name} is not in the env file"))
        };
        let url = variable("CONVEX_SELF_HOSTED_URL")?;
        let key = variable("CONVEX_SELF_HOSTED_ADMIN_KEY")?;
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("app");
        processes::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&app)).await?;
        processes::run(
            Command::new("npx")
                .args(["convex", "deploy"])
                .env("CI", "1")
                .env("CONVEX_SELF_HOSTED_URL", &url)
                .env("CONVEX_SELF_HOSTED_ADMIN_KEY", key)
                .current_dir(&app),
        )
        .await?;
        let address = url.trim_start_matches("http://").parse().context("the URL is an address")?;
        Ok(Tidemark { address, url, process })
    }

    async fn call(&self, kind: &str, path: &str, arguments: Value) -> Result<Value> {
        let answer: Value = reqwest::Client::new()
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

    pub async fn open_accounts(&self, accounts: usize, balance: u64) -> Result<()> {
        for from in (0..accounts).step_by(500) {
            let to = (from + 500).min(accounts);
            self.call("mutation", "accounts:open", json!({"from": from, "to": to, "balance": balance}))
                .await?;
        }
        Ok(())
    }

    /// The sum of all balances.
    pub async fn total(&self, accounts: usize) -> Result<u64> {
        let mut sum = 0;
        for from in (0..accounts).step_by(5_000) {
            let to = (from + 5_000).min(accounts);
            let part = self.call("query", "accounts:total", json!({"from": from, "to": to})).await?;
            let part = part.as_f64().context("a sum is a number")?;
            ensure!(part.fract() == 0.0, "a sum is whole");
            sum += part as u64;
        }
        Ok(sum)
    }

    pub async fn stop(self) -> Result<()> {
        processes::stop(self.process, "TERM").await
    }
}
