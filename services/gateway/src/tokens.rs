//! Who a token's user is, by the auth providers that the deployment has at this moment.
//!
//! Crate `auth` decides; here is what it needs: the providers, the time, and their documents. A provider's keys are fetched by
//! a task of their own, so that nobody else waits longer because the one who asked first has gone.
//!
//! A provider can be the app itself, whose HTTP actions then answer for it at the site address. What is fetched from there
//! is asked of the app's router directly: it leaves neither the machine nor the process, needs no connection, and is not
//! held to the egress policy. It finds a place also when as many actions are under way as may be. A call is verified before it takes a place, so that calls which wait for keys leave room for
//! the one that brings them.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use auth::{
    Answer, AuthError, AuthLimits, Fetch, KeyCache, KeySource, Keys, Providers, Step, Token, Verified,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};
use contract::{DeploymentRef, HttpAnswer, HttpCall, Identity, Requester, Runner};
use egress::Bounds;
use futures::StreamExt as _;
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;
use url::Url;

use crate::{clock, deployments::Deployment, edge::Services, request_id::new_request_id};

/// What verifies tokens.
pub(crate) struct Tokens {
    limits: AuthLimits,
    http: egress::Client,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    deployments: Mutex<HashMap<DeploymentRef, Arc<Trusted>>>,
}

/// Whom a deployment trusts.
struct Trusted {
    /// What was read.
    text: Arc<str>,
    providers: Providers,
    keys: BTreeMap<KeySource, Arc<Source>>,
}

/// The keys of a provider, and who waits for them.
struct Source {
    cache: Mutex<KeyCache>,
    fetched: Notify,
}

/// Why a token names no user.
#[derive(Debug)]
pub(crate) enum TokenError {
    /// It does not hold, or its provider can't be asked.
    Refused(AuthError),
    /// A service failed.
    Service(contract::Error),
}

/// What came of a request: a status, headers and a body.
struct Document {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Tokens {
    pub(crate) fn new(
        limits: AuthLimits,
        http: egress::Client,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Tokens {
        Tokens { limits, http, tasks, shutdown, deployments: Mutex::default() }
    }

    /// A deployment is there no more.
    pub(crate) fn forget(&self, deployment: DeploymentRef) {
        lock(&self.deployments).remove(&deployment);
    }

    /// Whom a token names.
    pub(crate) async fn verify(
        &self,
        services: &Services,
        deployment: &Arc<Deployment>,
        token: &str,
    ) -> Result<Verified, TokenError> {
        let token = Token::parse(token, &self.limits)?;
        let text = services.deploy.auth_providers(deployment.reference).await?;
        let trusted = self.trusted(deployment.reference, text)?;
        let provider = trusted.providers.find(&token)?;
        let source = &trusted.keys[&provider.key_source()];
        let first = |cache: &mut KeyCache, now_ms| Some(cache.step(now_ms));
        let runner = &services.runner;
        let mut keys = self.keys(runner, deployment, source, first).await?;
        let mut verified = None;
        while let Some(tried) = &keys {
            let result = provider.verify(&token, &tried.set, clock::now_ms());
            keys = match &result {
                Err(AuthError::Refused { refusal, .. }) if refusal.is_about_the_key() => {
                    let others = |cache: &mut KeyCache, now_ms| cache.step_after_refusal(tried, now_ms);
                    self.keys(runner, deployment, source, others).await?
                }
                _ => None,
            };
            verified = Some(result);
        }
        Ok(verified.expect("the first step never ends without keys or an error")?)
    }

    /// Keys by the steps that `next` gives; `None` if it gives none.
    async fn keys(
        &self,
        runner: &Arc<dyn Runner>,
        deployment: &Arc<Deployment>,
        source: &Arc<Source>,
        next: impl Fn(&mut KeyCache, u64) -> Option<Step>,
    ) -> Result<Option<Keys>, AuthError> {
        let wait = Duration::from_millis(self.limits.fetch_ms_max);
        loop {
            // From here on nothing that is fetched is missed.
            let mut fetched = pin!(source.fetched.notified());
            fetched.as_mut().enable();
            let step = next(&mut lock(&source.cache), clock::now_ms());
            match step {
                None => return Ok(None),
                Some(Step::Use(keys)) => return Ok(Some(keys)),
                Some(Step::Refuse(error)) => return Err(error),
                // And asks again: there may be keys to use meanwhile.
                Some(Step::Fetch(fetch)) => self.start_fetch(runner, deployment, source, fetch),
                // A request that ends without a word has failed when it is asked again.
                Some(Step::Wait) => drop(timeout(wait, fetched).await),
            }
        }
    }

    fn start_fetch(
        &self,
        runner: &Arc<dyn Runner>,
        deployment: &Arc<Deployment>,
        source: &Arc<Source>,
        fetch: Fetch,
    ) {
        let (http, limits, shutdown) = (self.http.clone(), self.limits, self.shutdown.clone());
        let (runner, deployment, source) = (runner.clone(), deployment.clone(), source.clone());
        let fetched = async move {
            let got = get(&http, &*runner, &deployment, &fetch.url, &limits);
            let document = shutdown.run_until_cancelled(got).await;
            let document = document.unwrap_or_else(|| Err("was not asked: this server stops".to_owned()));
            if let Err(reason) = &document {
                tracing::warn!("an auth provider's document can't be fetched: {} {reason}", fetch.url);
            }
            let answer = match &document {
                Ok(document) => Ok(document.as_answer()),
                Err(reason) => Err(reason.clone()),
            };
            lock(&source.cache).fetched(&fetch, answer, clock::now_ms());
            source.fetched.notify_waiters();
        };
        self.tasks.spawn(fetched.in_current_span());
    }

    /// The deployment's providers, and the keys of those that were there before.
    fn trusted(&self, deployment: DeploymentRef, text: Arc<str>) -> contract::Result<Arc<Trusted>> {
        let mut deployments = lock(&self.deployments);
        let before = deployments.get(&deployment);
        if let Some(before) = before.filter(|before| before.text == text) {
            return Ok(before.clone());
        }
        let unusable = |reason: String| {
            contract::Error::internal(format!("the stored auth providers can't be used: {reason}"))
        };
        let json = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        let providers =
            Providers::from_json(&json, &self.limits).map_err(|error| unusable(error.to_string()))?;
        let source_of = |source: KeySource| {
            let known = before.and_then(|before| before.keys.get(&source)).cloned();
            let new = || Arc::new(Source::new(source.clone(), self.limits));
            (source.clone(), known.unwrap_or_else(new))
        };
        let keys = providers.iter().map(|provider| source_of(provider.key_source())).collect();
        let trusted = Arc::new(Trusted { text, providers, keys });
        deployments.insert(deployment, trusted.clone());
        Ok(trusted)
    }
}

impl Source {
    fn new(source: KeySource, limits: AuthLimits) -> Source {
        Source { cache: Mutex::new(KeyCache::new(source, limits)), fetched: Notify::new() }
    }
}

/// A document of a provider; a clause that follows its address if there is none.
async fn get(
    http: &egress::Client,
    runner: &dyn Runner,
    deployment: &Deployment,
    url: &str,
    limits: &AuthLimits,
) -> Result<Document, String> {
    const JSON: &str = "application/json";
    let bounds = Bounds {
        time_max: Duration::from_millis(limits.fetch_ms_max),
        body_bytes_max: limits.document_bytes_max,
    };
    let Some(own) = own_url(url, &deployment.site_url) else {
        let answer = http.get(url, JSON, bounds).await.map_err(|error| error.to_string())?;
        return Ok(Document { status: answer.status, headers: answer.headers, body: answer.body });
    };
    let answered =
        timeout(bounds.time_max, get_own(runner, deployment, own, JSON, bounds.body_bytes_max)).await;
    answered.unwrap_or_else(|_| Err(egress::Error::TimedOut.to_string()))
}

/// The same of the app itself.
async fn get_own(
    runner: &dyn Runner,
    deployment: &Deployment,
    url: String,
    accept: &str,
    bytes_max: usize,
) -> Result<Document, String> {
    let call = HttpCall {
        deployment: deployment.reference,
        component: String::new(),
        method: "GET".to_owned(),
        url,
        headers: vec![("accept".to_owned(), accept.as_bytes().to_vec())],
        body: None,
        identity: Identity::Anonymous,
        requester: Requester::default(),
        request_id: new_request_id(),
        is_own: true,
    };
    let nothing = |status: StatusCode| Document {
        status: status.as_u16(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let mut response = match runner.http_action(call).await.map_err(|error| format!("failed: {error}"))? {
        HttpAnswer::Response(response) => response,
        HttpAnswer::Failed(_) => return Ok(nothing(StatusCode::INTERNAL_SERVER_ERROR)),
        HttpAnswer::NoRouter => return Ok(nothing(StatusCode::NOT_FOUND)),
    };
    let headers = response.headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
    });
    let headers = headers.collect();
    let mut body = BytesMut::new();
    while let Some(piece) = response.body.next().await {
        body.extend_from_slice(&piece.map_err(|error| format!("broke off: {error}"))?);
        if body.len() > bytes_max {
            return Err(egress::Error::TooLarge { bytes_max }.to_string());
        }
    }
    Ok(Document { status: response.status, headers, body: body.freeze() })
}

/// The address as the app's router sees it, if it is at the site.
fn own_url(url: &str, site_url: &str) -> Option<String> {
    let (url, site) = (Url::parse(url).ok()?, Url::parse(site_url).ok()?);
    if url.origin() != site.origin() {
        return None;
    }
    // A proxy in front may have given the site a path, which it takes off.
    let path = url.path().strip_prefix(site.path().trim_end_matches('/'))?;
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    path.starts_with('/').then(|| format!("{}{path}{query}", site.origin().ascii_serialization()))
}

impl Document {
    fn as_answer(&self) -> Answer<'_> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        Answer {
            status: self.status,
            content_type: text(header::CONTENT_TYPE),
            cache_control: text(header::CACHE_CONTROL),
            body: &self.body,
        }
    }
}

impl From<AuthError> for TokenError {
    fn from(error: AuthError) -> TokenError {
        TokenError::Refused(error)
    }
}

impl From<contract::Error> for TokenError {
    fn from(error: contract::Error) -> TokenError {
        TokenError::Service(error)
    }
}

impl From<TokenError> for contract::Error {
    fn from(error: TokenError) -> contract::Error {
        match error {
            TokenError::Refused(error) => error.into(),
            TokenError::Service(error) => error,
        }
    }
}

/// Every change is complete before the lock is released, so a panic elsewhere leaves nothing half done.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apps_own_documents_are_known_by_their_address() {
        for (url, site, own) in [
            ("http://127.0.0.1:3211/a/b?c=d", "http://127.0.0.1:3211", Some("http://127.0.0.1:3211/a/b?c=d")),
            ("https://x.example:443/a", "https://X.example", Some("https://x.example/a")),
            ("https://x.example/site/a", "https://x.example/site", Some("https://x.example/a")),
            ("https://x.example/sites/a", "https://x.example/site", None),
            ("https://x.example/a", "https://x.example/site", None),
            ("http://127.0.0.1:3210/a", "http://127.0.0.1:3211", None),
            ("http://x.example/a", "https://x.example", None),
            ("https://y.example/a", "https://x.example", None),
            ("data:,x", "https://x.example", None),
        ] {
            assert_eq!(own_url(url, site).as_deref(), own, "{url} of {site}");
        }
    }
}
