//! `tidemark deployment …`: creates, lists and deletes the deployments of a server that runs, and their keys.
//!
//! It calls the control plane over HTTP, on the address that serves clients, so that no other port need be open. What opens
//! that is the operator's key, which follows from the server's secret: on the server's own machine it is made of the data folder.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use egress::{Client, EgressLimits, HeaderMap, HeaderValue, Method, Policy, Redirects, Request, RequestBody};
use serde_json::{Value, json};

use crate::{data_folder, screen, table::Table};

/// Longer than any request to the control plane takes.
const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 64 << 20;
const DATA_FOLDER: &str = ".tidemark";
const DAY_MS: u64 = 24 * 3_600_000;

#[derive(Debug, clap::Args)]
pub struct DeploymentArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    command: Command,
}

/// Which server is asked.
#[derive(Debug, clap::Args)]
struct ServerArguments {
    /// The data folder of a server on this machine [default: ./.tidemark].
    #[arg(long, env = "TIDEMARK_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// The secret that the nodes of a cluster share, where the server is one of them.
    #[arg(long, env = "TIDEMARK_CLUSTER_SECRET_FILE", value_name = "FILE", global = true)]
    cluster_secret_file: Option<PathBuf>,
    /// The address of a server's API, where its folder is not on this machine; with --operator-key.
    #[arg(long, env = "TIDEMARK_SERVER", value_name = "URL", global = true, requires = "operator_key")]
    server: Option<String>,
    /// The operator's key: `tidemark deployment operator-key` shows it on the server's machine.
    #[arg(long, env = "TIDEMARK_OPERATOR_KEY", value_name = "KEY", global = true, hide_env_values = true)]
    operator_key: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create a deployment and show how to reach it.
    Create {
        /// 1 to 40 lower-case letters, digits and dashes.
        name: String,
        /// The project that it belongs to [default: one of its own name].
        #[arg(long)]
        project: Option<String>,
        /// What it is for: prod, dev, or preview, which is deleted by itself.
        #[arg(long, default_value = "prod")]
        kind: String,
        /// A host name of its own for its API, as a URL [default: what the server's pattern makes of the name].
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// The same for its HTTP actions.
        #[arg(long, value_name = "URL")]
        site_url: Option<String>,
        /// After how many days it is deleted with all that it has.
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u64>,
        /// How often it is served in turn, where others are served once: 1 to 100.
        #[arg(long, value_name = "WEIGHT")]
        share: Option<u32>,
        /// How much of what deployments share it may hold at once, in percent.
        #[arg(long, value_name = "PERCENT")]
        share_max: Option<u32>,
    },
    /// List the deployments.
    List,
    /// Delete a deployment with all that it has.
    Delete {
        /// Its name.
        name: String,
    },
    /// Show the keys of a deployment, or make one or delete one.
    Keys {
        #[command(flatten)]
        owner: Owner,
        /// Make a key of this name, for CONVEX_DEPLOY_KEY. It is shown once.
        #[arg(long, value_name = "KEY", conflicts_with = "delete")]
        create: Option<String>,
        /// Delete the key of this name.
        #[arg(long, value_name = "KEY")]
        delete: Option<String>,
    },
    /// Show the key that creates and deletes deployments, made of the data folder.
    OperatorKey,
}

/// Whose keys are meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Owner {
    /// A deployment.
    deployment: Option<String>,
    /// The previews of a project: such a key creates them, as `convex deploy` does with it.
    #[arg(long, value_name = "PROJECT")]
    previews: Option<String>,
    /// A project: such a key opens all its deployments, and creates those that are missing.
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
}

impl Owner {
    /// As the control plane names it.
    fn named(&self) -> (&'static str, &str) {
        match (&self.deployment, &self.previews, &self.project) {
            (Some(name), ..) => ("deployment", name),
            (None, Some(project), _) => ("previews", project),
            (None, None, project) => ("project", project.as_deref().unwrap_or_default()),
        }
    }
}

/// Does what is asked for, and prints what came of it.
pub fn run(arguments: DeploymentArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let DeploymentArguments { server, command } = arguments;
    if let Command::OperatorKey = command {
        let served = served_by(&server)?;
        screen::print(&format!("{}\n", directory::operator_key(&served.secret)));
        return Ok(());
    }
    let server = Server::of(&server)?;
    screen::print(&runtime.block_on(server.carry_out(command))?);
    Ok(())
}

fn served_by(arguments: &ServerArguments) -> anyhow::Result<data_folder::Served> {
    let folder = arguments.data_dir.clone().unwrap_or_else(|| DATA_FOLDER.into());
    data_folder::served(&folder, arguments.cluster_secret_file.as_deref()).map_err(|reason| {
        anyhow::anyhow!(
            "{reason}; name another one with --data-dir, or a server with --server and --operator-key"
        )
    })
}

/// A server's control plane.
struct Server {
    url: String,
    operator_key: String,
    client: Client,
}

impl Server {
    fn of(arguments: &ServerArguments) -> anyhow::Result<Server> {
        let (url, operator_key) = match (&arguments.server, &arguments.operator_key) {
            (Some(url), Some(key)) => (url.trim_end_matches('/').to_owned(), key.clone()),
            _ => {
                let served = served_by(arguments)?;
                (served.url, directory::operator_key(&served.secret))
            }
        };
        let client = Client::new(Policy::default(), EgressLimits::DEFAULT);
        Ok(Server { url, operator_key, client })
    }

    async fn carry_out(&self, command: Command) -> anyhow::Result<String> {
        match command {
            Command::Create { name, project, kind, url, site_url, expires_in_days, share, share_max } => {
                let expires_ms = match expires_in_days {
                    Some(days) => Some(self.now_ms().await?.saturating_add(days.saturating_mul(DAY_MS))),
                    None => None,
                };
                let body = json!({
                    "name": name, "project": project, "kind": kind, "cloudUrl": url, "siteUrl": site_url,
                    "expiresMs": expires_ms, "shareWeight": share, "sharePercentMax": share_max,
                });
                let created = self.ask(Method::POST, "/v1/tidemark/deployments", Some(body)).await?;
                Ok(created_text(&created))
            }
            Command::List => {
                let listed = self.ask(Method::GET, "/v1/tidemark/deployments", None).await?;
                Ok(list_text(&listed))
            }
            Command::Delete { name } => {
                let path = format!("/v1/tidemark/deployments/{}", escaped(&name));
                self.ask(Method::DELETE, &path, None).await?;
                Ok(format!("The deployment {name} is not served any more. Its data is being deleted.\n"))
            }
            Command::Keys { owner, create, delete } => {
                let (kind, of) = owner.named();
                let path = format!("/v1/tidemark/keys?{kind}={}", escaped(of));
                match (create, delete) {
                    (Some(key), _) => {
                        let body = json!({ "owner": kind, "of": of, "name": key });
                        let made = self.ask(Method::POST, "/v1/tidemark/keys", Some(body)).await?;
                        Ok(format!("{}\n", text(&made["key"])))
                    }
                    (None, Some(key)) => {
                        self.ask(Method::DELETE, &format!("{path}&name={}", escaped(&key)), None).await?;
                        Ok(format!("The key {key} opens nothing any more.\n"))
                    }
                    (None, None) => Ok(keys_text(&self.ask(Method::GET, &path, None).await?)),
                }
            }
            Command::OperatorKey => unreachable!("it asks no server"),
        }
    }

    /// By the server's clock, which decides when a deployment expires.
    async fn now_ms(&self) -> anyhow::Result<u64> {
        let listed = self.ask(Method::GET, "/v1/tidemark/deployments", None).await?;
        listed["nowMs"].as_u64().context("the server does not tell the time")
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let header = format!("Bearer {}", self.operator_key);
        let mut authorization = HeaderValue::from_str(&header).context("the operator's key can't be sent")?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization);
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let body = body.map_or(RequestBody::Empty, |body| RequestBody::Whole(body.to_string().into()));
        let request = Request { method, url, headers, body, redirects: Redirects::Refuse };
        let answered = async {
            let mut response = self.client.send(request).await?;
            let mut answer = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                    bail!("the answer is too large");
                }
                answer.extend_from_slice(&chunk);
            }
            Ok((response.status, answer))
        };
        let asked = || format!("ask the server at {}", self.url);
        let answer = tokio::time::timeout(PATIENCE, answered).await.context("it does not answer");
        let (status, answer) = answer.flatten().with_context(asked)?;
        let answer: Value = serde_json::from_slice(&answer)
            .with_context(|| format!("read the answer of {}, which is no server of Tidemark's", self.url))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        bail!("{}: {}", text(&answer["code"]), text(&answer["message"]))
    }
}

/// For a path or a query.
fn escaped(part: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    part.bytes()
        .map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn created_text(created: &Value) -> String {
    let of = |name: &str| text(&created[name]);
    let (url, key) = (of("cloudUrl"), of("adminKey"));
    format!(
        "
  The deployment {name} is there.

    API          {url}
    Site         {site}
    Admin key    {key}

  To use it with your app, put these two lines into its .env.local:

    CONVEX_SELF_HOSTED_URL='{url}'
    CONVEX_SELF_HOSTED_ADMIN_KEY='{key}'

",
        name = of("name"),
        site = of("siteUrl"),
    )
}

fn list_text(listed: &Value) -> String {
    const COLUMNS: [(&str, &str); 6] = [
        ("NAME", "name"),
        ("KIND", "kind"),
        ("PROJECT", "project"),
        ("GROUP", "group"),
        ("EXPIRES", "expires"),
        ("API", "cloudUrl"),
    ];
    let now_ms = listed["nowMs"].as_u64().unwrap_or(0);
    let rows = listed["deployments"].as_array().cloned().unwrap_or_default();
    let mut table = Table::new(COLUMNS.map(|(title, _)| title));
    for row in &rows {
        table.row(COLUMNS.map(|(_, field)| match (field, row["expiresMs"].as_u64()) {
            ("expires", Some(expires_ms)) => {
                format!("{} d", expires_ms.saturating_sub(now_ms).div_ceil(DAY_MS))
            }
            ("expires", None) => "-".to_owned(),
            _ => text(&row[field]),
        }));
    }
    table.text()
}

fn keys_text(listed: &Value) -> String {
    let admin_key =
        listed["adminKey"].as_str().map(|key| format!("Admin key    {key}\n")).unwrap_or_default();
    let keys = listed["keys"].as_array().cloned().unwrap_or_default();
    let names: String = keys.iter().map(|key| format!("Deploy key   {}\n", text(&key["name"]))).collect();
    match admin_key + &names {
        none if none.is_empty() => "There are no keys. Make one with --create NAME.\n".to_owned(),
        some => some,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Words {
        #[command(flatten)]
        arguments: DeploymentArguments,
    }

    fn parse(words: &str) -> Result<Command, clap::Error> {
        let words = ["tidemark"].into_iter().chain(words.split(' '));
        Words::try_parse_from(words).map(|words| words.arguments.command)
    }

    #[test]
    fn keys_are_of_one_owner() {
        for (words, named) in [
            ("keys shop", ("deployment", "shop")),
            ("keys --previews shop --create ci", ("previews", "shop")),
            ("keys --project shop", ("project", "shop")),
        ] {
            let Command::Keys { owner, .. } = parse(words).expect(words) else { panic!("{words}") };
            assert_eq!(owner.named(), named);
        }
        for words in ["keys", "keys shop --project shop", "keys shop --create a --delete b"] {
            assert!(parse(words).is_err(), "{words}");
        }
    }

    #[test]
    fn what_goes_into_an_address_is_escaped() {
        assert_eq!(escaped("a-b_c.d~1"), "a-b_c.d~1");
        assert_eq!(escaped("../x?a&b é"), "..%2Fx%3Fa%26b%20%C3%A9");
    }

    #[test]
    fn a_list_has_columns_as_wide_as_their_cells() {
        let day_after = 1_000 + DAY_MS;
        let listed = json!({"nowMs": 1_000, "deployments": [
            {"name": "dev", "kind": "dev", "project": "dev", "group": 1, "cloudUrl": "http://x", "expiresMs": null},
            {"name": "shop-a-1", "kind": "preview", "project": "shop", "group": 1, "cloudUrl": "http://y", "expiresMs": day_after},
        ]});
        let expected = "  NAME      KIND     PROJECT  GROUP  EXPIRES  API
  dev       dev      dev      1      -        http://x
  shop-a-1  preview  shop     1      1 d      http://y
";
        assert_eq!(list_text(&listed), expected);
    }
}
