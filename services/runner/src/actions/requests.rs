//! HTTP actions: actions that the app's router leads a request to.

use std::sync::Arc;

use contract::{Caller, FunctionCall, HttpAnswer, HttpCall, Result};
use isolate::FunctionKind;
use schema::Validator;
use serde_json::json;
use tracing::Instrument as _;
use transaction::{DeploymentCatalog, Transaction};
use url::Url;
use value::FunctionPath;

use super::{
    exchange::Exchange,
    run::{Descent, Prepared},
};
use crate::{
    calls::Thrown,
    functions::Function,
    service::Handle,
    transaction::{Run, component_at},
};

/// Its default export is the router, if it is there.
const ROUTER_MODULE: &str = "http.js";
const ROUTER: &str = "http:default";

impl Handle {
    /// Answers a request. What answers it goes on if the client goes away, and ends with the runner at the latest.
    pub(crate) async fn run_http_action(&self, request: HttpCall) -> Result<HttpAnswer> {
        let admitted = match request.is_own {
            true => self.actions.admit_called(request.deployment),
            false => self.actions.admit(request.deployment).await,
        };
        let place = admitted.inspect_err(|_| self.shared.metrics.refused.increment())?;
        let route = format!("{} {}", request.method, path_of(&request.url));
        let (head, body) = Head::of(request);
        let metrics = Arc::clone(&self.shared.metrics);
        let (exchange, answer) = Exchange::open(route, body, &self.actions.limits, metrics);
        let handle = self.clone();
        let act = async move {
            let ended = handle.answer_request(head, &exchange).await;
            exchange.end(|| ended);
            drop(place);
        };
        self.calls.spawn(act.in_current_span());
        answer.await.unwrap_or_else(|_| Err(super::run::cancelled()))
    }

    /// What became of the request, for where nothing of an answer was sent.
    async fn answer_request(&self, head: Head, exchange: &Arc<Exchange>) -> Result<HttpAnswer> {
        let shared = &self.shared;
        let transaction = shared.transactions.snapshot(head.call.deployment).await?;
        let catalog = Arc::clone(transaction.deployment_catalog());
        let Some(call) = head.routed(&catalog) else { return Ok(HttpAnswer::NoRouter) };
        let run = Run::new(&Arc::new(call), FunctionKind::HttpAction);
        let Some(prepared) = self.prepare_router(&run, transaction).await? else {
            return Ok(HttpAnswer::NoRouter);
        };
        shared.metrics.http_actions.increment();
        let outcome = self
            .run_prepared(&run, prepared, catalog, Descent { depth: 1, job: None }, Some(exchange))
            .await?;
        match outcome.result {
            Ok(_) => Err(contract::Error::internal("an HTTP action succeeded without an answer")),
            Err(error) => Ok(HttpAnswer::Failed(error)),
        }
    }

    /// Finds the router; `None` if there is none.
    async fn prepare_router(
        &self,
        run: &Run,
        mut transaction: Transaction,
    ) -> Result<Option<Result<Prepared, Thrown>>> {
        let component = component_at(&mut transaction, &run.call().component);
        let Some(component) = component else { return Ok(None) };
        transaction.enter(component);
        if transaction.module(ROUTER_MODULE).is_none() {
            return Ok(None);
        }
        if transaction.is_paused() {
            return Thrown::paused(run.call().caller).map(|thrown| Some(Err(thrown)));
        }
        let function = Function {
            path: ROUTER.parse::<FunctionPath>().expect("a path"),
            kind: FunctionKind::HttpAction,
            is_public: true,
            arguments: Validator::Any,
            returns: None,
        };
        self.load_code(run, transaction, component, Arc::new(function)).await.map(Some)
    }
}

/// A request that is not routed yet.
struct Head {
    /// Without arguments.
    call: FunctionCall,
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    has_body: bool,
}

impl Head {
    /// And the request's body.
    fn of(request: HttpCall) -> (Head, Option<contract::HttpBody>) {
        let HttpCall {
            deployment,
            component,
            method,
            url,
            headers,
            body,
            identity,
            requester,
            request_id,
            ..
        } = request;
        let headers = headers.into_iter().map(|(name, value)| (name, latin1(&value))).collect();
        let call = FunctionCall {
            deployment,
            component,
            path: ROUTER.to_owned(),
            arguments: "".into(),
            identity,
            caller: Caller::HttpEndpoint,
            requester,
            request_id,
        };
        (Head { call, url, method, headers, has_body: body.is_some() }, body)
    }

    /// The call of the router that answers it; `None` if there is none. A component is told the path that is its own.
    fn routed(self, catalog: &DeploymentCatalog) -> Option<FunctionCall> {
        let Head { call, url, method, headers, has_body } = self;
        let parsed = Url::parse(&url).ok();
        let path = parsed.as_ref().map_or_else(|| path_of(&url), |url| url.path());
        let (component, route) = match call.component.is_empty() {
            true => {
                let (id, route) = catalog.routed(path)?;
                (catalog.component_path(id)?.to_string(), route)
            }
            false => (call.component, path.to_owned()),
        };
        // As http-action.js reads it.
        let arguments = json!({
            "url": url, "method": method, "headers": headers, "hasBody": has_body, "route": route,
        });
        Some(FunctionCall { component, arguments: arguments.to_string().into(), ..call })
    }
}

/// Without the query.
fn path_of(url: &str) -> &str {
    let behind_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = behind_scheme.find('/').map_or("/", |at| &behind_scheme[at..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
