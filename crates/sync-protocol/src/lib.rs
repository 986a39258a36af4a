//! The messages of the WebSocket sync protocol.
