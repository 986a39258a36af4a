//! The official Rust client, told what to do by lines of JSON on stdin: one answer to each on stdout.
//!
//! Values are in Convex's JSON encoding on these lines; in between they are what the client makes of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use convex::{ConvexClient, FunctionResult, QuerySubscription, Value};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, stdin, stdout};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Call { kind: String, path: String, args: BTreeMap<String, Json> },
    Subscribe { path: String, args: BTreeMap<String, Json> },
    Next { subscription: usize },
    Unsubscribe { subscription: usize },
    SetAuth { token: Option<String> },
}

struct Driver {
    client: ConvexClient,
    subscriptions: Vec<Option<QuerySubscription>>,
}

impl Driver {
    async fn obey(&mut self, command: Command) -> Result<Json> {
        Ok(match command {
            Command::Call { kind, path, args } => shown(self.call(&kind, &path, values(args)?).await?),
            Command::Subscribe { path, args } => {
                self.subscriptions.push(Some(self.client.subscribe(&path, values(args)?).await?));
                json!({ "subscription": self.subscriptions.len() - 1 })
            }
            Command::Next { subscription } => {
                let subscription =
                    self.subscriptions[subscription].as_mut().context("it is not subscribed")?;
                shown(subscription.next().await.context("the subscription has ended")?)
            }
            Command::Unsubscribe { subscription } => {
                self.subscriptions[subscription] = None;
                json!({})
            }
            Command::SetAuth { token } => {
                self.client.set_auth(token).await;
                json!({})
            }
        })
    }

    async fn call(
        &mut self,
        kind: &str,
        path: &str,
        args: BTreeMap<String, Value>,
    ) -> Result<FunctionResult> {
        match kind {
            "query" => self.client.query(path, args).await,
            "mutation" => self.client.mutation(path, args).await,
            "action" => self.client.action(path, args).await,
            _ => bail!("{kind} is no kind of function"),
        }
    }
}

fn values(args: BTreeMap<String, Json>) -> Result<BTreeMap<String, Value>> {
    args.into_iter().map(|(name, json)| Ok((name, Value::try_from(json)?))).collect()
}

fn shown(result: FunctionResult) -> Json {
    match result {
        FunctionResult::Value(value) => json!({ "value": Json::from(value) }),
        FunctionResult::ErrorMessage(error) => json!({ "error": error }),
        FunctionResult::ConvexError(error) => {
            json!({ "error": error.message, "data": Json::from(error.data) })
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).context("the first argument is the URL of a deployment")?;
    let mut driver = Driver { client: ConvexClient::new(&url).await?, subscriptions: Vec::new() };
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = driver.obey(serde_json::from_str(&line)?).await;
        let answer = answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") }));
        stdout().write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}
