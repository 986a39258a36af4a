//! What the edge lets in, and for how long.

use auth::AuthLimits;
use limits::{KIB, MIB, group};

/// What requests and sockets are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub gateway: GatewayLimits,
    pub grpc: GrpcLimits,
    pub sync: SyncLimits,
    pub auth: AuthLimits,
    /// How long a call waits for its turn, as the runner has it.
    pub slot_wait_ms_max: u64,
    /// Queries of one session, as the fan-out has it.
    pub session_queries_max: usize,
    /// Bytes of one file, as the files service has it.
    pub file_bytes_max: u64,
    /// Bytes of a request's body, as the runner has it.
    pub http_request_bytes_max: usize,
}

group! {
    gateway:
    /// The HTTP edge.
    pub struct GatewayLimits {
        /// Body of a call of a function, over HTTP (413) or gRPC (`RequestTooLarge`): the largest arguments and their envelope.
        api_body_bytes_max: usize = 16 * MIB + 2_000,
        /// Bodies of calls of functions, and messages of sockets, that are in memory at once, and one more; other bodies wait (503
        /// `TooManyRequestBytes`), and other sockets are not read.
        bodies_bytes_max: usize = 512 * MIB,
        /// Bodies up to here need no room among them, so that slow large ones hold up none that are small: there are at most
        /// as many as there are connections.
        small_body_bytes_max: usize = 16 * KIB,
        /// Answers of functions, and results of live queries, that are in memory until their clients have taken them; more of them
        /// wait, with the places of their calls.
        answers_bytes_max: usize = 512 * MIB,
        /// Time for the body of a call to arrive, and to wait for memory before (408).
        body_ms_max: u64 = 60_000,
        /// Body of a push as it is sent (413).
        push_body_bytes_max: usize = 200_000_000,
        /// Body of a push when it is decompressed (413): a small one may unpack to anything.
        push_decompressed_bytes_max: usize = 256 * MIB,
        /// Bodies of pushes, decompressed, that are in memory at once, and one more; others wait (503 `TooManyRequestBytes`).
        /// Parsed they take about as much again.
        push_bodies_bytes_max: usize = 512 * MIB,
        /// Time for the body of a push to arrive, and to wait for memory before (408).
        push_body_ms_max: u64 = 240_000,
        /// Body of a request of a data sync (413): its cursor has something of each table.
        sync_body_bytes_max: usize = 2 * MIB,
        /// Body of every other request (413).
        other_body_bytes_max: usize = MIB,
        /// Body that `/echo` sends back (413): the network test of the command line tool sends 64 MiB.
        echo_body_bytes_max: usize = 64 * MIB,
        /// Bodies that are echoed at once, since nobody is authenticated there; more of them wait.
        echoes_in_flight_max: usize = 4,
        /// Files that are uploaded at once; more of them wait (429 `TooManyConcurrentRequests`). Each has up to 2 MiB in memory, or
        /// 24 MiB on its way to a bucket.
        uploads_in_flight_max: usize = 128,
        /// Time for one upload (408), whatever its size: less than what came of it is kept for.
        upload_ms_max: u64 = 3_600_000,
        /// An upload of which nothing comes for so long is ended (408).
        upload_stall_ms_max: u64 = 60_000,
        /// Files that are sent at once; more of them wait (429 `TooManyConcurrentRequests`). Each has up to 1 MiB in memory.
        downloads_in_flight_max: usize = 1_024,
        /// Calls of functions over HTTP that run at once; more of them wait.
        requests_in_flight_max: usize = 1_024,
        /// How much of what a gateway has (places for calls, connections and sockets, memory for bodies and answers) one
        /// deployment may have, in percent: what it fills stalls no other.
        deployment_share_percent: usize = 75,
        /// Connections of one port that speak HTTP; more of them wait to be accepted. WebSockets count by themselves.
        connections_max: usize = 10_000,
        /// The first line and the headers of a request (431).
        head_bytes_max: usize = 64 * KIB,
        /// Time for them to arrive, and the pause since the last request of the connection, which is then closed.
        head_ms_max: u64 = 60_000,
        /// Time for the handshake of a connection by TLS.
        handshake_ms_max: u64 = 10_000,
        /// A connection whose client takes nothing of what is sent to it for so long is ended.
        write_stall_ms_max: u64 = 60_000,
        /// Pause after the system had no more files or memory for a connection.
        accept_retry_ms: u64 = 1_000,
        /// Time for one request (408).
        request_ms_max: u64 = 300_000,
        /// How long a long poll (logs, the state of a schema) is held before it is answered as unchanged.
        long_poll_ms_max: u64 = 60_000,
        /// How far a moment that a query is asked for may be ahead of the clock (400 `InvalidTimestamp`): the clocks of a group's
        /// nodes may be so far apart.
        clock_skew_ms_max: u64 = 5_000,
        /// Log entries that are kept for `convex logs`.
        log_entries_max: usize = 10_000,
        /// Bytes of the log entries that are kept.
        log_entries_bytes_max: usize = 64 * MIB,
        /// Files and sockets that a process may have open: fewer, and many clients at once or a store of some size will not
        /// do, which it says when it starts.
        open_files_min: u64 = 10_240,
        /// So long a connection without a request stays open when the process stops: a request that its client was about to
        /// send is answered, and told to go elsewhere from then on.
        last_request_ms: u64 = 50,
        /// Time for open requests to end when the process stops.
        shutdown_ms_max: u64 = 10_000,
    }
}

impl GatewayLimits {
    /// How much of something one deployment may have.
    pub const fn share_of(&self, whole: usize) -> usize {
        fair_queue::share_of(whole, self.deployment_share_percent)
    }
}

group! {
    grpc:
    /// The public gRPC API. Messages are held to `gateway.api_body_bytes_max` and what follows it there.
    pub struct GrpcLimits {
        /// Calls of one connection that are under way, subscriptions included; a client opens another connection for more, or
        /// waits.
        streams_per_connection_max: usize = 1_000,
        /// Calls that wait for their answers (`TooManyConcurrentRequests`). Unlike over HTTP one connection brings many.
        calls_in_flight_max: usize = 20_000,
        /// Subscriptions (`TooManySubscriptions`).
        subscriptions_max: usize = 10_000,
        /// Streams of the server's health or its description (`TooManyConcurrentRequests`). Who asks once for its health needs no place.
        probes_in_flight_max: usize = 1_000,
        /// Queries of one batch (`BatchTooLarge`). Each takes a place among the calls of functions.
        batch_queries_max: usize = 100,
        /// Bytes of what a batch has given in all (`BatchTooLarge`).
        batch_bytes_max: usize = 64 * MIB,
        /// How often it is looked whether the server's health has changed, for those who watch it.
        health_watch_ms: u64 = 1_000,
        /// A subscription that shows nothing new for so long says that it is alive.
        heartbeat_ms: u64 = 15_000,
        /// Pings over HTTP/2.
        ping_interval_ms: u64 = 20_000,
        /// A client that does not answer a ping for so long is gone.
        ping_answer_ms_max: u64 = 20_000,
    }
}

group! {
    sync:
    /// The WebSocket sync protocol.
    pub struct SyncLimits {
        /// One message from a client (`FatalError` and close code 1009, since the client would send it again and again). Arguments of
        /// 16 MiB fit into it as text, of which numbers need some 45 MiB: a client meets the limit of functions, and not
        /// this one. Large messages share `gateway.bodies_bytes_max` with the bodies of other calls, from their arrival
        /// until they are answered.
        message_bytes_max: usize = 64 * MIB,
        /// A Transition with more bytes is sent in chunks to clients that know them.
        transition_chunk_bytes_max: usize = 5_000_000,
        /// Mutations of one session that may wait for their turn (`TooManyConcurrentMutations`).
        pending_mutations_max: usize = 1_000,
        /// Mutations of all sessions that run at once, until they are durable; more of them wait, and deployments take
        /// turns.
        mutations_in_flight_max: usize = 4_096,
        /// Actions of one session that are under way (`TooManyInflightActionsForSingleClient`).
        actions_in_flight_max: usize = 1_000,
        /// Outcomes of mutations that wait to be written; the next mutation starts only when there is room.
        outcomes_waiting_max: usize = 4,
        /// Wall time of one mutation, retries included, before the client is told that it failed.
        mutation_ms_max: u64 = 60_000,
        /// WebSocket pings: a pong counts as life.
        ping_interval_ms: u64 = 5_000,
        /// A client that sent nothing for so long is gone.
        client_silence_ms_max: u64 = 120_000,
        /// A sync `Ping` is sent when nothing else was for so long: clients reconnect after 30 or 60 s of silence.
        heartbeat_ms: u64 = 15_000,
        /// Time until the first message, `Connect`.
        connect_ms_max: u64 = 30_000,
        /// How long a client that was refused by `AuthError` or `FatalError` may take to close by itself, which spares
        /// it a pause before it comes back.
        refused_linger_ms_max: u64 = 5_000,
        /// Bytes of a close reason, as the WebSocket standard has it.
        close_reason_bytes_max: usize = 123,
        /// Connections of one process (503).
        connections_max: usize = 50_000,
    }
}
