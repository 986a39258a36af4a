//! The edge: HTTP API, WebSocket sync protocol, deploy API.
