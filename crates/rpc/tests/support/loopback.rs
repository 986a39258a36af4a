//! Services on a free port of this machine, and a channel to them.

use std::net::SocketAddr;

use rpc::RpcLimits;
use tokio::{net::TcpListener, task::JoinSet};
use tonic::transport::{Channel, server::Router};

/// Serves until the tasks are dropped.
pub async fn serve(services: Router, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let connections = futures::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(connection, _)| connection), listener))
    });
    let serving = services.serve_with_incoming(connections);
    tasks.spawn(async move { serving.await.expect("it serves") });
    address
}

pub async fn connect(address: SocketAddr, limits: &RpcLimits) -> Channel {
    let node = format!("http://{address}").parse().expect("an address");
    rpc::endpoint(node, limits).connect().await.expect("the server is there")
}

/// Serves until the tasks are dropped, and connects to it.
pub async fn channel_to(services: Router, limits: &RpcLimits, tasks: &mut JoinSet<()>) -> Channel {
    connect(serve(services, tasks).await, limits).await
}
