//! Clients of the WebSocket protocol, each with one live query at most.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use futures::{SinkExt, StreamExt, future::try_join_all};
use harness::Server;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};
use uuid::Uuid;

/// Which query each client subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Queries {
    /// Row 0, each the same query.
    Same,
    /// Client k looks at row k.
    Own,
    /// Row 0, by a query that reads the identity, and each client is signed in as somebody else.
    PerIdentity,
}

impl Queries {
    pub fn name(self) -> &'static str {
        match self {
            Queries::Same => "all the same",
            Queries::Own => "each its own",
            Queries::PerIdentity => "per identity",
        }
    }
}

/// What a client was shown.
pub struct Shown {
    pub client: usize,
    /// The version that it was shown before.
    pub before: u64,
    pub version: u64,
    pub at: Instant,
}

/// Clients that are connected; dropping them closes their sockets.
pub struct Clients {
    tasks: Vec<JoinHandle<()>>,
    shown: mpsc::UnboundedReceiver<Result<Shown>>,
    /// The newest version that each client was shown.
    pub versions: Vec<u64>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Clients {
    /// Connects so many clients, and waits until the server has answered each.
    pub async fn connect(server: &Server, count: usize) -> Result<Vec<Socket>> {
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let some = (count - sockets.len()).min(64);
            sockets.extend(try_join_all((0..some).map(|_| connect(server))).await?);
        }
        Ok(sockets)
    }

    /// Subscribes each to its query, and waits until the last has its answer.
    pub async fn subscribe(server: &Server, sockets: Vec<Socket>, queries: Queries) -> Result<Clients> {
        let (showing, shown) = mpsc::unbounded_channel();
        let mut clients = Clients { tasks: Vec::new(), shown, versions: vec![0; sockets.len()] };
        for (client, socket) in sockets.into_iter().enumerate() {
            let first = first_messages(server, client, queries);
            let showing = showing.clone();
            clients.tasks.push(tokio::spawn(async move {
                if let Err(error) = listen(client, socket, first, &showing).await {
                    // The other end is gone when the measurement is over.
                    let _ = showing.send(Err(error));
                }
            }));
        }
        let mut waiting: Vec<bool> = vec![true; clients.versions.len()];
        let mut missing = waiting.len();
        while missing > 0 {
            let shown = clients.next().await?;
            if std::mem::take(&mut waiting[shown.client]) {
                missing -= 1;
            }
        }
        Ok(clients)
    }

    pub async fn next(&mut self) -> Result<Shown> {
        let mut shown = self.shown.recv().await.context("the clients are gone")??;
        ensure!(
            shown.version >= self.versions[shown.client],
            "client {} was shown {} after {}",
            shown.client,
            shown.version,
            self.versions[shown.client]
        );
        shown.before = std::mem::replace(&mut self.versions[shown.client], shown.version);
        Ok(shown)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn connect(server: &Server) -> Result<Socket> {
    let url = format!("ws://{}/api/1.48.0/sync", server.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.context("open a socket")?;
    let connect = json!({
        "type": "Connect", "sessionId": Uuid::new_v4(), "connectionCount": 0, "lastCloseReason": null,
    });
    let authenticate = json!({"type": "Authenticate", "baseVersion": 0, "tokenType": "None"});
    for message in [connect, authenticate] {
        socket.send(Message::Text(message.to_string().into())).await?;
    }
    // The identity is confirmed by a Transition: so it is connected through and through.
    while !next_text(&mut socket).await?.contains("\"Transition\"") {}
    Ok(socket)
}

fn first_messages(server: &Server, client: usize, queries: Queries) -> Vec<Value> {
    let (path, number) = match queries {
        Queries::Same => ("rows:version", 0),
        Queries::Own => ("rows:version", client),
        Queries::PerIdentity => ("rows:versionForMe", 0),
    };
    let mut messages = Vec::new();
    if queries == Queries::PerIdentity {
        // Tokens of users need a provider; an administrator may act as anybody.
        messages.push(json!({
            "type": "Authenticate", "baseVersion": 1, "tokenType": "Admin", "value": server.admin_key,
            "impersonating": {"issuer": "https://bench.invalid", "subject": format!("user {client}")},
        }));
    }
    messages.push(json!({
        "type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1,
        "modifications": [{"type": "Add", "queryId": 0, "udfPath": path, "args": [{"number": number}]}],
    }));
    messages
}

async fn listen(
    client: usize,
    mut socket: Socket,
    first: Vec<Value>,
    showing: &mpsc::UnboundedSender<Result<Shown>>,
) -> Result<()> {
    for message in first {
        socket.send(Message::Text(message.to_string().into())).await?;
    }
    loop {
        let text = next_text(&mut socket).await?;
        let at = Instant::now();
        if !text.contains("\"QueryUpdated\"") {
            ensure!(!text.contains("\"QueryFailed\""), "client {client} got {text}");
            continue;
        }
        let message: Value = serde_json::from_str(&text)?;
        let version = message["modifications"][0]["value"].as_f64().context("a version is a number")?;
        if showing.send(Ok(Shown { client, before: 0, version: version as u64, at })).is_err() {
            return Ok(());
        }
    }
}

async fn next_text(socket: &mut Socket) -> Result<String> {
    loop {
        match socket.next().await.context("the server closed the socket")?? {
            Message::Text(text) if text.contains("Error\"") => bail!("the server answered {text}"),
            Message::Text(text) => return Ok(text.to_string()),
            Message::Close(frame) => bail!("the server closed the socket: {frame:?}"),
            _ => {}
        }
    }
}
