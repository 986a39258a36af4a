//! Connections that notice when the other side is gone: a node that is cut off says nothing, and neither does the network.

use std::time::Duration;

use tonic::transport::{Endpoint, Server, Uri};

use crate::limits::RpcLimits;

/// How clients connect to a node.
pub fn endpoint(node: Uri, limits: &RpcLimits) -> Endpoint {
    let milliseconds = Duration::from_millis;
    Endpoint::from(node)
        .connect_timeout(milliseconds(limits.connect_ms_max))
        .http2_keep_alive_interval(milliseconds(limits.keep_alive_ms))
        .keep_alive_timeout(milliseconds(limits.keep_alive_answer_ms_max))
        // Also where it looks idle: a stream may wait for its next event.
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(window(limits.stream_window_bytes))
        .initial_connection_window_size(window(limits.connection_window_bytes))
}

/// What may be under way that the other side has not read, as HTTP/2 counts it.
fn window(bytes: usize) -> u32 {
    const BYTES_MAX: usize = i32::MAX as usize;
    bytes.min(BYTES_MAX) as u32
}

/// A server that lets go of what it does for clients which are gone.
pub fn server(limits: &RpcLimits) -> Server {
    let milliseconds = Duration::from_millis;
    Server::builder()
        .http2_keepalive_interval(Some(milliseconds(limits.keep_alive_ms)))
        .http2_keepalive_timeout(Some(milliseconds(limits.keep_alive_answer_ms_max)))
        .initial_stream_window_size(window(limits.stream_window_bytes))
        .initial_connection_window_size(window(limits.connection_window_bytes))
}
