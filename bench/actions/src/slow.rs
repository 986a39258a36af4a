//! A server of somebody else's that answers when it is told to.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Result;
use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub(crate) struct SlowServer {
    address: SocketAddr,
    /// Requests that wait.
    count: watch::Sender<usize>,
    /// How often it was told to answer.
    answers: watch::Sender<u64>,
    _connections: JoinSet<()>,
}

impl SlowServer {
    pub async fn start() -> Result<SlowServer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (count, answers) = (watch::Sender::new(0), watch::Sender::new(0));
        let mut connections = JoinSet::new();
        connections.spawn(serve(listener, count.clone(), answers.clone()));
        Ok(SlowServer { address, count, answers, _connections: connections })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Until so many requests wait.
    pub async fn waiting(&self, requests: usize) {
        let reached = self.count.subscribe().wait_for(|count| *count >= requests).await.map(drop);
        reached.expect("the sender is here");
    }

    /// Answers all that wait.
    pub fn answer(&self) {
        self.answers.send_modify(|answers| *answers += 1);
    }
}

async fn serve(listener: TcpListener, count: watch::Sender<usize>, answers: watch::Sender<u64>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (count, answers) = (count.clone(), answers.clone());
        let service = service_fn(move |_| {
            let (count, mut answered) = (count.clone(), answers.subscribe());
            async move {
                count.send_modify(|count| *count += 1);
                // It fails only when this program ends.
                let _ = answered.changed().await;
                count.send_modify(|count| *count -= 1);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"late"))))
            }
        });
        connections.spawn(async move {
            // A client may go away.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
