//! What every handler can reach.

use std::{sync::Arc, time::Duration};

use contract::{Deploy, DeploymentRef, Fanout, Runner, Sequencer};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AdminKeys, Limits,
    bodies::{Budget, Room},
    sync::Sessions,
};

/// Where a gateway stands.
#[derive(Clone, Debug)]
pub struct Options {
    pub deployment: DeploymentRef,
    pub deployment_name: String,
    pub admin_keys: AdminKeys,
    /// The address at which clients reach the API: `http://127.0.0.1:3210`.
    pub cloud_url: String,
    /// The address of HTTP actions: `http://127.0.0.1:3211`.
    pub site_url: String,
    pub limits: Limits,
}

/// What a gateway calls.
#[derive(Clone)]
pub struct Services {
    pub runner: Arc<dyn Runner>,
    pub fanout: Arc<dyn Fanout>,
    pub sequencer: Arc<dyn Sequencer>,
    pub deploy: Arc<dyn Deploy>,
}

pub(crate) struct Edge {
    pub options: Options,
    pub services: Services,
    /// Live connections by their session.
    pub sessions: Sessions,
    /// Calls of functions over HTTP.
    pub calls: Semaphore,
    /// For the bodies of such calls.
    pub call_bodies: Arc<Budget>,
    /// For their answers, until the clients have taken them.
    pub answers: Room,
    /// For the bodies of pushes, as they come out of the decompression.
    pub push_bodies: Arc<Budget>,
    /// Open sockets.
    pub sockets: Arc<Semaphore>,
    /// Bodies of `/echo`, which can be large.
    pub echoes: Arc<Semaphore>,
    /// Everything that outlives the request which started it.
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
}

pub(crate) type SharedEdge = Arc<Edge>;

impl Edge {
    pub(crate) fn new(options: Options, services: Services, shutdown: CancellationToken) -> Edge {
        let limits = &options.limits;
        let gateway = &limits.gateway;
        Edge {
            sessions: Sessions::default(),
            calls: Semaphore::new(gateway.requests_in_flight_max),
            call_bodies: Arc::new(Budget::new(
                Room::new(gateway.bodies_bytes_max, gateway.small_body_bytes_max),
                gateway.api_body_bytes_max,
                Duration::from_millis(gateway.body_ms_max),
            )),
            answers: Room::new(gateway.answers_bytes_max, gateway.small_body_bytes_max),
            push_bodies: Arc::new(Budget::new(
                Room::new(gateway.push_bodies_bytes_max, gateway.small_body_bytes_max),
                gateway.push_decompressed_bytes_max,
                Duration::from_millis(gateway.push_body_ms_max),
            )),
            sockets: Arc::new(Semaphore::new(limits.sync.connections_max)),
            echoes: Arc::new(Semaphore::new(gateway.echoes_in_flight_max)),
            tasks: TaskTracker::new(),
            shutdown,
            services,
            options,
        }
    }
}
