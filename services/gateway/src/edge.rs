//! What every handler can reach.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use contract::{
    Archives, AuthToken, DataSync, Deploy, Directory, Fanout, Files, LogStreams, Requester, Runner,
    Schedules, Sequencer,
};
use fair_queue::{Places, Shares};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Limits,
    bodies::{Budget, Room},
    connections::Connections,
    control::OperatorKey,
    deployments::{Deployment, Served},
    grpc::IsReady,
    metrics::Metrics,
    request_id::new_request_id,
    server::Listeners,
    sync::Sessions,
    tokens::Tokens,
};

/// Where a gateway stands.
#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
    /// Who shows it may create and delete deployments; as the tools have it, the token of an account. A secret.
    pub operator_key: String,
    /// What keys of projects call the cluster, as the directory does.
    pub team: String,
}

/// What a gateway calls.
#[derive(Clone)]
pub struct Services {
    pub runner: Arc<dyn Runner>,
    pub fanout: Arc<dyn Fanout>,
    pub sequencer: Arc<dyn Sequencer>,
    pub deploy: Arc<dyn Deploy>,
    pub files: Arc<dyn Files>,
    pub archives: Arc<dyn Archives>,
    pub schedules: Arc<dyn Schedules>,
    pub directory: Arc<dyn Directory>,
    pub data_sync: Arc<dyn DataSync>,
    pub log_streams: Arc<dyn LogStreams>,
}

/// Whom a request is for, who has sent it, and by which name the log and the answers speak of it. The router finds out before anything
/// else looks at a request; handlers take it as an argument.
#[derive(Clone)]
pub(crate) struct Addressed {
    pub deployment: Arc<Deployment>,
    pub request_id: Arc<str>,
    /// Who has sent it, but for its token.
    pub requester: Requester,
}

/// What a gateway is started with.
pub struct Dependencies {
    pub services: Services,
    /// For what the app's auth providers publish.
    pub http: egress::Client,
    /// What is answered over gRPC to who asks for the server's health.
    pub is_ready: IsReady,
    pub listeners: Listeners,
}

pub(crate) struct Edge {
    pub limits: Limits,
    /// Whom requests are for.
    pub served: Served,
    pub operator_key: OperatorKey,
    pub team: String,
    pub services: Services,
    pub is_ready: IsReady,
    pub tokens: Tokens,
    /// Live connections by their session.
    pub sessions: Sessions,
    /// Calls of functions over HTTP.
    pub calls: Places,
    /// Mutations of sessions.
    pub mutations: Places,
    /// Calls over gRPC that wait for their answers.
    pub grpc_calls: Places,
    /// Live queries over gRPC.
    pub subscriptions: Places,
    /// For the bodies of such calls.
    pub call_bodies: Arc<Budget>,
    /// For their answers, until the clients have taken them.
    pub answers: Room,
    /// For the bodies of pushes, as they come out of the decompression.
    pub push_bodies: Arc<Budget>,
    /// Connections to the API that speak HTTP.
    pub connections: Connections,
    /// Open sockets.
    pub sockets: Places,
    pub metrics: Arc<Metrics>,
    /// Bodies of `/echo`, which can be large.
    pub echoes: Places,
    /// Files on their way in.
    pub uploads: Places,
    /// Files on their way out.
    pub downloads: Places,
    /// Everything that outlives the request which started it.
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

pub(crate) type SharedEdge = Arc<Edge>;

impl Edge {
    pub(crate) fn new(
        options: Options,
        services: Services,
        http: egress::Client,
        is_ready: IsReady,
        shutdown: CancellationToken,
    ) -> Edge {
        let Options { limits, operator_key, team } = options;
        let gateway = &limits.gateway;
        let shares = Shares::of(services.directory.deployments());
        let shared = |places| Places::shared(places, gateway.share_of(places), shares.clone());
        let room = |bytes_max| {
            let (small_bytes_max, percent) = (gateway.small_body_bytes_max, gateway.deployment_share_percent);
            Room::new(bytes_max, small_bytes_max, percent, shares.clone())
        };
        let tasks = TaskTracker::new();
        Edge {
            tokens: Tokens::new(limits.auth, http, tasks.clone(), shutdown.clone()),
            served: Served::new(services.directory.deployments(), shutdown.clone()),
            operator_key: OperatorKey::new(operator_key),
            team,
            sessions: Sessions::default(),
            calls: shared(gateway.requests_in_flight_max),
            mutations: shared(limits.sync.mutations_in_flight_max),
            grpc_calls: shared(limits.grpc.calls_in_flight_max),
            subscriptions: shared(limits.grpc.subscriptions_max),
            call_bodies: Arc::new(Budget::new(
                room(gateway.bodies_bytes_max),
                gateway.api_body_bytes_max,
                Duration::from_millis(gateway.body_ms_max),
            )),
            answers: room(gateway.answers_bytes_max),
            push_bodies: Arc::new(Budget::new(
                room(gateway.push_bodies_bytes_max),
                gateway.push_decompressed_bytes_max,
                Duration::from_millis(gateway.push_body_ms_max),
            )),
            connections: Connections::new(shared(gateway.connections_max)),
            sockets: shared(limits.sync.connections_max),
            metrics: Arc::new(Metrics::new()),
            echoes: shared(gateway.echoes_in_flight_max),
            uploads: shared(gateway.uploads_in_flight_max),
            downloads: shared(gateway.downloads_in_flight_max),
            tasks,
            shutdown,
            services,
            is_ready,
            limits,
        }
    }

    /// How much of its limits is used.
    pub(crate) fn limits_used(&self) -> Vec<limits::Use> {
        let places = |limit, places: &Places| {
            let (used, max) = places.load();
            limits::Use::of(limit, used, max)
        };
        let room = |limit, room: &Room| {
            let (used, max) = room.load_bytes();
            limits::Use::of(limit, used, max)
        };
        vec![
            places("gateway.connections_max", self.connections.places()),
            places("gateway.requests_in_flight_max", &self.calls),
            places("gateway.uploads_in_flight_max", &self.uploads),
            places("gateway.downloads_in_flight_max", &self.downloads),
            places("gateway.echoes_in_flight_max", &self.echoes),
            room("gateway.bodies_bytes_max", self.call_bodies.room()),
            room("gateway.answers_bytes_max", &self.answers),
            room("gateway.push_bodies_bytes_max", self.push_bodies.room()),
            places("grpc.calls_in_flight_max", &self.grpc_calls),
            places("grpc.subscriptions_max", &self.subscriptions),
            places("sync.connections_max", &self.sockets),
            places("sync.mutations_in_flight_max", &self.mutations),
        ]
    }
}

impl Addressed {
    /// Names a request.
    pub(crate) fn new(deployment: Arc<Deployment>, requester: Requester) -> Addressed {
        Addressed { deployment, request_id: new_request_id().into(), requester }
    }

    /// Who has sent the request, and its token, if one has shown that.
    pub(crate) fn requester_with(&self, token: Option<AuthToken>) -> Requester {
        Requester { token, ..self.requester.clone() }
    }

    /// Each call of a session's functions is a request of its own.
    pub(crate) fn next_request(&self) -> Addressed {
        Addressed { request_id: new_request_id().into(), ..self.clone() }
    }

    /// What every log line about the request is marked with, whichever level is logged. Where the request is traced, its trace
    /// begins here, or goes on if `headers` say so.
    pub(crate) fn span(&self, headers: Option<&HeaderMap>) -> tracing::Span {
        let Some(traced) = telemetry::sample(headers) else { return self.log_span() };
        let span = tracing::error_span!(
            target: telemetry::TARGET,
            "request",
            otel.kind = "server",
            deployment = %self.deployment.reference,
            request_id = &*self.request_id,
        );
        traced.begin(&span);
        span
    }

    /// The same for what is no request, and is never traced: a session is open for hours.
    pub(crate) fn log_span(&self) -> tracing::Span {
        tracing::error_span!("request", deployment = %self.deployment.reference, request_id = &*self.request_id)
    }
}

impl<S: Sync> FromRequestParts<S> for Addressed {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Addressed, Infallible> {
        let addressed = parts.extensions.get::<Addressed>();
        Ok(addressed.expect("the router lets nothing pass before it is addressed").clone())
    }
}
