//! etcd: three members on this machine, and clients of its leader. Of its gRPC API only what is used here is written down, by the
//! numbers that its `rpc.proto` gives the fields.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use harness::processes;
use tokio::process::{Child, Command};
use tonic::{
    Request,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::VALUE_BYTES;

const MEMBERS: usize = 3;
const START_TIME_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// What it says is not looked at: an answer means that the put is durable.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// Members that run.
pub struct Etcd {
    members: Vec<Child>,
    /// Where clients call the leader.
    leader: String,
}

impl Etcd {
    /// Which one is installed, if any is.
    pub async fn version() -> Option<String> {
        let printed = processes::run(Command::new("etcd").arg("--version")).await.ok()?;
        Some(printed.lines().next()?.strip_prefix("etcd Version: ")?.to_owned())
    }

    /// Starts the members in `folder`, with etcd's defaults, and waits until one leads.
    pub async fn start(folder: &Path) -> Result<Etcd> {
        // All are held until all are known.
        let held: Vec<TcpListener> =
            (0..2 * MEMBERS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let urls: Vec<String> = held
            .iter()
            .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
            .collect::<Result<_>>()?;
        drop(held);
        let (of_clients, of_peers) = urls.split_at(MEMBERS);
        let cluster: Vec<String> =
            of_peers.iter().enumerate().map(|(number, url)| format!("member{number}={url}")).collect();
        let mut members = Vec::new();
        for (number, (client, peer)) in of_clients.iter().zip(of_peers).enumerate() {
            let name = format!("member{number}");
            let member = Command::new("etcd")
                .arg("--data-dir")
                .arg(folder.join("etcd").join(&name))
                .args(["--name", &name, "--initial-cluster-state", "new"])
                .args(["--listen-client-urls", client, "--advertise-client-urls", client])
                .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
                .args(["--initial-cluster", &cluster.join(",")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("start etcd")?;
            members.push(member);
        }
        let leader = tokio::time::timeout(START_TIME_MAX, leader(of_clients));
        let leader = leader.await.context("no member of etcd leads")?;
        Ok(Etcd { members, leader })
    }

    /// As many clients of the leader, each with a connection of its own.
    pub async fn clients(&self, clients: usize) -> Result<Clients> {
        let mut channels = Vec::new();
        for _ in 0..clients {
            channels.push(Endpoint::from_shared(self.leader.clone())?.tcp_nodelay(true).connect().await?);
        }
        Ok(Clients(channels))
    }

    /// Processor time that all members have taken so far.
    pub fn cpu_time(&self) -> Result<Duration> {
        let of = |member: &Child| processes::cpu_time(member.id().context("a member of etcd has ended")?);
        self.members.iter().map(of).sum()
    }

    pub async fn stop(self) -> Result<()> {
        for member in self.members {
            processes::stop(member, "TERM").await?;
        }
        Ok(())
    }
}

/// The URL of the member that leads, once one does.
async fn leader(urls: &[String]) -> String {
    loop {
        for url in urls {
            let leads = leads(url).await;
            if leads.is_ok_and(|leads| leads) {
                return url.clone();
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn leads(url: &str) -> Result<bool> {
    let mut client = Client(Endpoint::from_shared(url.to_owned())?.connect().await?);
    let status: StatusResponse = client.call("/etcdserverpb.Maintenance/Status", StatusRequest {}).await?;
    Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
}

/// Clients of a leader.
pub struct Clients(Vec<Channel>);

impl Clients {
    /// The client of a caller.
    pub fn of(&self, caller: usize) -> Client {
        Client(self.0[caller % self.0.len()].clone())
    }
}

pub struct Client(Channel);

impl Client {
    /// Puts a value of its own.
    pub async fn put(&mut self) -> Result<()> {
        let key: [u8; 16] = rand::random();
        let request = PutRequest { key: key.to_vec(), value: vec![b'x'; VALUE_BYTES] };
        let _: PutResponse = self.call("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    async fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.unary(Request::new(request), path, codec).await?.into_inner())
    }
}
