//! `tidemark cluster …`: what an operator asks of a cluster, over the network as from any other machine.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use mtls::{Expected, Role, Roles};
use proto::admin::v1::{
    AddNodeRequest, Group, RemoveNodeRequest, StatusReply, StatusRequest, TransferLeaderRequest,
    admin_client::AdminClient,
};
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};

use crate::{
    configuration::{self, Asked, host_and_port},
    node::{self, Calls},
    screen,
    table::Table,
};

/// Who answers operators.
const ANSWERING: Expected = Expected { roles: Roles::of(&[Role::Txlog]), node: None };
/// A node gets all data before it has a vote.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(3_600);
const STATUS_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a change is asked for while the lead moves, and the pause between.
const ATTEMPTS_MAX: u32 = 10;
const NEXT_LEADER: Duration = Duration::from_millis(500);

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct ClusterArguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, clap::Subcommand)]
enum Question {
    /// Show who leads, how far the others are, and which deployments there are.
    Status(Asking),
    /// Have a node that runs, and is in no cluster, keep a replica of every group; or tell where one is that has moved with its data.
    AddNode {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        node: u64,
        /// Where its services are called, as `host:port`.
        #[arg(long, value_name = "ADDRESS")]
        at: String,
        /// Its availability zone [default: the one that it says itself].
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        zone: String,
        /// A voter that it replaces in the same step.
        #[arg(long, value_name = "NUMBER")]
        instead_of: Option<u64>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a node out of every group. It must be stopped then, and never come back under its number.
    RemoveNode {
        /// Its number.
        #[arg(value_name = "NUMBER")]
        node: u64,
        #[command(flatten)]
        asking: Asking,
    },
    /// Have another node lead.
    TransferLeader {
        /// Which group [default: every one].
        #[arg(long, value_name = "NUMBER")]
        group: Option<u32>,
        /// Which node [default: the voter that lacks least].
        #[arg(long, value_name = "NUMBER")]
        to: Option<u64>,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Debug, clap::Args)]
struct Asking {
    /// A configuration file as `serve` has it; of it, and of the variables of `serve`, what is said of the cluster and of
    /// TLS is looked at.
    #[arg(long, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to ask, as `host:port` [default: the peers of the configuration].
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints the answer.
pub async fn run(arguments: ClusterArguments) -> anyhow::Result<()> {
    match arguments.question {
        Question::Status(asking) => {
            let (status, _) = Operator::new(&asking).await?.whole_status().await?;
            screen::print(&if asking.json { format!("{:#}\n", as_json(&status)) } else { as_text(&status) });
        }
        Question::AddNode { node, at, zone, instead_of, asking } => {
            host_and_port("--at", &at)?;
            let operator = Operator::new(&asking).await?;
            for (group, mut leader) in operator.leaders(None).await? {
                let (address, zone) = (at.clone(), zone.clone());
                let request = AddNodeRequest { group, node, address, zone, instead_of };
                leader.add_node(in_time(request, CHANGE_TIME_MAX)).await.map_err(refused)?;
            }
            let text = format!("Node {node} is a member of every group.\n");
            screen::print(&if asking.json { format!("{}\n", json!({ "added": node })) } else { text });
        }
        Question::RemoveNode { node, asking } => {
            let operator = Operator::new(&asking).await?;
            let (status, _) = operator.whole_status().await?;
            let was_there = status.groups.iter().any(|group| is_member(group, node));
            for (group, leader) in operator.leaders(None).await? {
                operator.remove_node(group, leader, node).await?;
            }
            let text = match was_there {
                true => format!("Node {node} is in no group any more. Stop it; its number is used up.\n"),
                false => format!("Node {node} is in no group: nothing was to be removed.\n"),
            };
            let removed = was_there.then_some(node);
            screen::print(&if asking.json { format!("{}\n", json!({ "removed": removed })) } else { text });
        }
        Question::TransferLeader { group, to, asking } => {
            let operator = Operator::new(&asking).await?;
            let mut leaders = serde_json::Map::new();
            let mut text = String::new();
            for (group, mut leader) in operator.leaders(group).await? {
                let request = TransferLeaderRequest { group, to };
                let reply =
                    leader.transfer_leader(in_time(request, CHANGE_TIME_MAX)).await.map_err(refused)?;
                let leader = reply.into_inner().leader;
                leaders.insert(group.to_string(), json!(leader));
                text += &format!("Node {leader} leads group {group}.\n");
            }
            screen::print(&if asking.json { format!("{}\n", json!({ "leaders": leaders })) } else { text });
        }
    }
    Ok(())
}

fn in_time<T>(message: T, time_max: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(time_max);
    request
}

/// What the other side says, with its code.
fn refused(status: Status) -> anyhow::Error {
    anyhow::Error::new(rpc::from_status(status))
}

struct Operator {
    calls: Calls,
    addresses: Vec<String>,
}

impl Operator {
    async fn new(asking: &Asking) -> anyhow::Result<Operator> {
        let Asked { cluster, limits } = configuration::load_for_operator(asking.config.clone())?;
        let calls = Calls::new(&cluster, limits.rpc, limits.tls)?;
        let addresses = match &asking.address {
            Some(address) => {
                host_and_port("--address", address)?;
                vec![address.clone()]
            }
            None if cluster.peers.is_empty() => vec![format!("127.0.0.1:{}", cluster.internal_port)],
            None => node::addresses(&cluster.peers).await,
        };
        Ok(Operator { calls, addresses })
    }

    fn client(&self, address: &str) -> anyhow::Result<AdminClient<Channel>> {
        Ok(AdminClient::new(self.calls.channel(address, ANSWERING)?))
    }

    async fn status_of(&self, address: &str) -> anyhow::Result<StatusReply> {
        let request = in_time(StatusRequest {}, STATUS_TIME_MAX);
        Ok(self.client(address)?.status(request).await.map_err(refused)?.into_inner())
    }

    /// What the first node that answers knows, and of each group what its leader knows. Also where the leaders are.
    async fn whole_status(&self) -> anyhow::Result<(StatusReply, Vec<(u32, Option<String>)>)> {
        let mut last = None;
        let mut answered = None;
        for address in &self.addresses {
            match self.status_of(address).await.with_context(|| format!("ask {address}")) {
                Ok(status) => {
                    answered = Some((address.clone(), status));
                    break;
                }
                Err(error) => last = Some(error),
            }
        }
        let Some((asked, mut status)) = answered else {
            return Err(last.unwrap_or_else(|| anyhow::anyhow!("no address of a node is known")));
        };
        let mut leaders = Vec::new();
        let own = status.node;
        for group in &mut status.groups {
            let leader = group.leader.and_then(|leader| {
                let member = group.members.iter().find(|member| member.node == leader)?;
                Some((leader, member.address.clone()))
            });
            let address = match leader {
                Some((leader, _)) if leader == own => Some(asked.clone()),
                Some((_, address)) => {
                    // It may have gone just now; then what the other one knows has to do.
                    if let Ok(of_leader) = self.status_of(&address).await
                        && let Some(known) =
                            of_leader.groups.into_iter().find(|known| known.group == group.group)
                    {
                        *group = known;
                    }
                    Some(address)
                }
                None => None,
            };
            leaders.push((group.group, address));
        }
        Ok((status, leaders))
    }

    /// A leader that is to go hands over first, and then the next one is asked.
    async fn remove_node(
        &self,
        group: u32,
        mut leader: AdminClient<Channel>,
        node: u64,
    ) -> anyhow::Result<()> {
        for attempt in 1.. {
            let request = in_time(RemoveNodeRequest { group, node }, CHANGE_TIME_MAX);
            let Err(status) = leader.remove_node(request).await else { break };
            let error = rpc::from_status(status);
            if error.code != contract::code::NOT_LEADER || attempt == ATTEMPTS_MAX {
                return Err(error.into());
            }
            tokio::time::sleep(NEXT_LEADER).await;
            if let Ok(leaders) = self.leaders(Some(group)).await
                && let Some((_, next)) = leaders.into_iter().next()
            {
                leader = next;
            }
        }
        Ok(())
    }

    /// A client of the leader of each group, or of one group.
    async fn leaders(&self, of: Option<u32>) -> anyhow::Result<Vec<(u32, AdminClient<Channel>)>> {
        let (_, leaders) = self.whole_status().await?;
        let mut clients = Vec::new();
        for (group, address) in leaders.into_iter().filter(|(group, _)| of.is_none_or(|of| of == *group)) {
            let address = address.with_context(|| format!("nobody is known to lead group {group}"))?;
            clients.push((group, self.client(&address)?));
        }
        if clients.is_empty() {
            bail!("there is no such group");
        }
        Ok(clients)
    }
}

fn is_member(group: &Group, node: u64) -> bool {
    group.members.iter().any(|member| member.node == node)
}

fn as_json(status: &StatusReply) -> Value {
    let group = |group: &Group| {
        let members: Vec<Value> = group
            .members
            .iter()
            .map(|member| {
                json!({
                    "node": member.node, "address": member.address, "zone": member.zone, "voter": member.voter,
                    "entriesBehind": member.entries_behind, "silentMs": member.silent_ms,
                })
            })
            .collect();
        json!({
            "group": group.group, "term": group.term, "leader": group.leader, "lastIndex": group.last_index,
            "appliedIndex": group.applied_index,
            // More than a JSON number holds exactly.
            "published": group.published.to_string(), "members": members,
        })
    };
    let deployments: Vec<Value> = status
        .deployments
        .iter()
        .map(|it| json!({ "name": it.name, "deployment": it.deployment, "group": it.group }))
        .collect();
    json!({
        "cluster": status.cluster, "node": status.node, "version": status.version, "roles": status.roles,
        "certificateExpires": status.certificate_expires,
        "groups": status.groups.iter().map(group).collect::<Vec<_>>(), "deployments": deployments,
    })
}

fn as_text(status: &StatusReply) -> String {
    let mut text =
        format!("Cluster {}, as node {} ({}) sees it.\n", status.cluster, status.node, status.version);
    let or_unknown = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    for group in &status.groups {
        let names: Vec<&str> = status
            .deployments
            .iter()
            .filter(|deployment| deployment.group == group.group)
            .map(|deployment| deployment.name.as_str())
            .collect();
        let leader =
            group.leader.map_or_else(|| "nobody leads".to_owned(), |node| format!("node {node} leads"));
        text += &format!("\nGroup {}: {leader} term {}", group.group, group.term);
        text += &format!(", last entry {}", or_unknown(group.last_index));
        text += &match &names[..] {
            [] => "\n".to_owned(),
            names => format!(", deployments {}\n", names.join(", ")),
        };
        let mut table = Table::new(["node", "zone", "address", "votes", "entries behind", "silent for"]);
        for member in &group.members {
            let is_leader = group.leader == Some(member.node);
            table.row([
                member.node.to_string(),
                if member.zone.is_empty() { "?".to_owned() } else { member.zone.clone() },
                member.address.clone(),
                if member.voter { "yes" } else { "no" }.to_owned(),
                if is_leader { "leads".to_owned() } else { or_unknown(member.entries_behind) },
                match member.silent_ms {
                    _ if is_leader => "-".to_owned(),
                    Some(silent_ms) => format!("{:.1} s", silent_ms as f64 / 1e3),
                    None => "?".to_owned(),
                },
            ]);
        }
        text += &table.text();
    }
    text
}

#[cfg(test)]
mod tests {
    use proto::admin::v1::{Deployment, Member};

    use super::*;

    fn status() -> StatusReply {
        let member = |node: u64, entries_behind, silent_ms| Member {
            node,
            address: format!("10.0.0.{node}:3213"),
            zone: if node == 3 { String::new() } else { format!("zone-{node}") },
            voter: node != 3,
            entries_behind,
            silent_ms,
        };
        let group = Group {
            group: 1,
            term: 4,
            leader: Some(2),
            last_index: Some(1_234),
            applied_index: Some(1_230),
            published: 1_800_000_000_000_000_001,
            members: vec![
                member(1, Some(0), Some(40)),
                member(2, None, None),
                member(3, Some(17), Some(2_500)),
            ],
        };
        let deployment = Deployment { name: "dev".into(), deployment: 1, group: 1 };
        StatusReply {
            cluster: "local".into(),
            node: 1,
            version: "0.1.0".into(),
            groups: vec![group],
            deployments: vec![deployment],
            certificate_expires: Some(1_900_000_000),
            roles: "all".into(),
            address: "10.0.0.1:3213".into(),
            zone: "zone-1".into(),
        }
    }

    #[test]
    fn people_see_who_leads_and_how_far_the_others_are() {
        let expected = "\
Cluster local, as node 1 (0.1.0) sees it.

Group 1: node 2 leads term 4, last entry 1234, deployments dev
  node  zone    address        votes  entries behind  silent for
  1     zone-1  10.0.0.1:3213  yes    0               0.0 s
  2     zone-2  10.0.0.2:3213  yes    leads           -
  3     ?       10.0.0.3:3213  no     17              2.5 s
";
        assert_eq!(as_text(&status()), expected);
        let nobody = StatusReply {
            groups: vec![Group {
                leader: None,
                members: vec![],
                last_index: None,
                ..status().groups[0].clone()
            }],
            deployments: vec![],
            ..status()
        };
        assert!(as_text(&nobody).contains("Group 1: nobody leads term 4, last entry ?\n"));
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let json = as_json(&status());
        assert_eq!(json["groups"][0]["leader"], 2);
        assert_eq!(json["groups"][0]["published"], "1800000000000000001");
        assert_eq!(json["groups"][0]["members"][2]["entriesBehind"], 17);
        assert_eq!(json["groups"][0]["members"][1]["silentMs"], Value::Null);
        assert_eq!(json["deployments"][0]["name"], "dev");
    }
}
