//! What is answered to who asks for the server's health: what the process says of itself.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{self, HealthServer},
};

/// Whether the process takes requests in all of its roles. Asked often; it must not wait for anything.
pub type IsReady = Arc<dyn Fn() -> bool + Send + Sync>;

/// Of the server as a whole, and of the one service that it has.
pub(super) struct Health {
    is_ready: IsReady,
    service: &'static str,
    /// Between two looks at what is watched.
    pause: Duration,
}

impl Health {
    pub(super) fn new(is_ready: IsReady, service: &'static str, pause: Duration) -> Health {
        Health { is_ready, service, pause }
    }

    /// Takes questions of up to so many bytes.
    pub(super) fn into_server(self, bytes_max: usize) -> HealthServer<Health> {
        HealthServer::new(self).max_decoding_message_size(bytes_max)
    }

    fn check_known(&self, request: Request<HealthCheckRequest>) -> Result<(), Status> {
        let service = request.into_inner().service;
        if service.is_empty() || service == self.service {
            return Ok(());
        }
        Err(Status::not_found("There is no such service here."))
    }
}

fn status_of(is_ready: &IsReady) -> ServingStatus {
    if is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.check_known(request)?;
        Ok(Response::new(said(status_of(&self.is_ready))))
    }

    type WatchStream = Statuses;

    /// What it is now, and whenever that changes.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        self.check_known(request)?;
        let (is_ready, pause) = (self.is_ready.clone(), self.pause);
        let statuses = stream::unfold(None, move |last| {
            let is_ready = is_ready.clone();
            async move {
                loop {
                    let status = status_of(&is_ready);
                    if last != Some(status) {
                        return Some((Ok(said(status)), Some(status)));
                    }
                    tokio::time::sleep(pause).await;
                }
            }
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::StreamExt as _;
    use health_server::Health as _;

    use super::*;

    #[tokio::test]
    async fn who_asks_or_watches_learns_what_the_process_says_of_itself() {
        let ready = Arc::new(AtomicBool::new(false));
        let seen = ready.clone();
        let is_ready: IsReady = Arc::new(move || seen.load(Ordering::Relaxed));
        let health = Health::new(is_ready, "some.Service", Duration::from_millis(1));
        let request = |service: &str| Request::new(HealthCheckRequest { service: service.to_owned() });
        let mut watched = health.watch(request("")).await.expect("it is known").into_inner();
        for (is_ready, status) in [
            (false, ServingStatus::NotServing),
            (true, ServingStatus::Serving),
            (false, ServingStatus::NotServing),
        ] {
            ready.store(is_ready, Ordering::Relaxed);
            for service in ["", "some.Service"] {
                let answer = health.check(request(service)).await.expect("it is known").into_inner();
                assert_eq!(answer.status(), status);
            }
            let shown = watched.next().await.expect("it does not end").expect("a status");
            assert_eq!(shown.status(), status);
        }
        let unknown = health.check(request("other.Service")).await.expect_err("it is not known");
        assert_eq!(unknown.code(), tonic::Code::NotFound);
    }
}
