//! Tidemark with the app pushed by the official command line tool, called by the HTTP API.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::Server;
use serde_json::json;

pub struct Tidemark {
    pub server: Server,
}

/// A transfer as the function API takes it.
pub fn body(from: usize, to: usize) -> String {
    format!(r#"{{"path":"accounts:transfer","format":"json","args":{{"from":{from},"to":{to},"amount":1}}}}"#)
}

impl Tidemark {
    pub async fn start(binary: &Path, folder: &Path, app: &Path) -> Result<Tidemark> {
        let server = Server::start(binary, &folder.join("tidemark")).await?;
        server.push(app).await?;
        Ok(Tidemark { server })
    }

    pub async fn open_accounts(&self, accounts: usize, balance: u64) -> Result<()> {
        for from in (0..accounts).step_by(500) {
            let to = (from + 500).min(accounts);
            self.server
                .call("mutation", "accounts:open", json!({"from": from, "to": to, "balance": balance}))
                .await?;
        }
        Ok(())
    }

    /// The sum of all balances.
    pub async fn total(&self, accounts: usize) -> Result<u64> {
        let mut sum = 0;
        for from in (0..accounts).step_by(5_000) {
            let to = (from + 5_000).min(accounts);
            let part = self.server.call("query", "accounts:total", json!({"from": from, "to": to})).await?;
            let part = part.as_f64().context("a sum is a number")?;
            ensure!(part.fract() == 0.0, "a sum is whole");
            sum += part as u64;
        }
        Ok(sum)
    }
}
