//! When to fetch a provider's keys, and how long to use them.
//!
//! ```text
//!   fetched                 fresh until                                   stale until
//!   |-- used as they are ---|-- used, and fetched again by one caller ----|-- everybody waits for new ones
//!        a token that they refuse: fetched again, if the last time is long enough ago
//! ```
//!
//! A caller asks for a [`Step`] and does what it says: use the keys, fetch a document and tell what came, wait until somebody
//! else has done so, or give up. Where the keys refuse its token, it asks once more with [`KeyCache::step_after_refusal`].

use std::sync::Arc;

use crate::{
    AuthError, AuthLimits, KeySet, KeySource,
    document::{key_set_url, of_data_url},
};

/// The keys of one source.
#[derive(Debug)]
pub struct KeyCache {
    source: KeySource,
    limits: AuthLimits,
    /// Where the key set is, if a discovery document had to say so.
    key_set_url: Option<Dated<String>>,
    keys: Option<Dated<Arc<KeySet>>>,
    fetching: Option<Fetching>,
    /// The last request, if it failed.
    failure: Option<Failure>,
    requests: u64,
}

/// What a caller does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// These are the keys.
    Use(Keys),
    /// Fetch a document, pass what came to [`KeyCache::fetched`], and ask again.
    Fetch(Fetch),
    /// Somebody fetches already. Ask again when that is done, or after [`AuthLimits::fetch_ms_max`].
    Wait,
    /// There are no keys for now.
    Refuse(AuthError),
}

/// Keys as they were at some time.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The keys.
    pub set: Arc<KeySet>,
    /// Which request brought them. To ask after a refusal for other ones.
    request: u64,
}

/// A request for a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Names the request.
    request: u64,
    /// What to get.
    pub url: String,
}

/// What came of a request, after redirects.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The header `Cache-Control`.
    pub cache_control: Option<&'a str>,
    /// The body; more than [`AuthLimits::document_bytes_max`] need not be read.
    pub body: &'a [u8],
}

/// What was fetched, and how long it holds.
#[derive(Debug)]
struct Dated<T> {
    value: T,
    request: u64,
    fetched_at_ms: u64,
    fresh_until_ms: u64,
}

#[derive(Debug)]
struct Fetching {
    fetch: Fetch,
    is_key_set: bool,
    began_at_ms: u64,
}

#[derive(Debug)]
struct Failure {
    error: AuthError,
    /// How many there were in a row.
    count: u32,
    retry_at_ms: u64,
}

impl KeyCache {
    /// Without any keys yet. Those in a `data:` address are there at once, and for good.
    pub fn new(source: KeySource, limits: AuthLimits) -> KeyCache {
        let mut cache = KeyCache {
            source,
            limits,
            key_set_url: None,
            keys: None,
            fetching: None,
            failure: None,
            requests: 0,
        };
        if let KeySource::KeySet { url } = &cache.source
            && let Some(contents) = of_data_url(url)
        {
            match KeySet::parse(&contents, &cache.limits) {
                Ok(keys) => {
                    let value = Arc::new(keys);
                    cache.keys =
                        Some(Dated { value, request: 0, fetched_at_ms: 0, fresh_until_ms: u64::MAX });
                }
                // A push would have refused it.
                Err(reason) => {
                    let error = cache.unavailable("data:".to_owned(), None, reason);
                    cache.failure = Some(Failure { error, count: 1, retry_at_ms: u64::MAX });
                }
            }
        }
        cache
    }

    /// What to do for a token at `now_ms`, milliseconds since the Unix epoch.
    pub fn step(&mut self, now_ms: u64) -> Step {
        self.give_up_on_silence(now_ms);
        let is_fresh = self.keys.as_ref().is_some_and(|keys| now_ms < keys.fresh_until_ms);
        if !is_fresh && self.fetching.is_none() && self.may_fetch(now_ms) {
            return Step::Fetch(self.fetch(now_ms));
        }
        let stale_ms_max = self.limits.stale_ms_max;
        let is_usable =
            |keys: &&Dated<_>| is_fresh || now_ms < keys.fetched_at_ms.saturating_add(stale_ms_max);
        match (self.keys.as_ref().filter(is_usable), &self.failure) {
            (Some(keys), _) => Step::Use(Keys { set: keys.value.clone(), request: keys.request }),
            (None, Some(failure)) if self.fetching.is_none() => Step::Refuse(failure.error.clone()),
            (None, _) => Step::Wait,
        }
    }

    /// What to do after keys have refused a token for a reason [that other keys could change](crate::Refusal::is_about_the_key):
    /// the provider may have new ones. `None` if the refusal stands.
    pub fn step_after_refusal(&mut self, refusing: &Keys, now_ms: u64) -> Option<Step> {
        self.give_up_on_silence(now_ms);
        let keys = self.keys.as_ref()?;
        if keys.request != refusing.request {
            return Some(Step::Use(Keys { set: keys.value.clone(), request: keys.request }));
        }
        if self.fetching.is_some() {
            return Some(Step::Wait);
        }
        let is_fixed = keys.fresh_until_ms == u64::MAX;
        let again_at_ms = keys.fetched_at_ms.saturating_add(self.limits.unknown_key_ms_min);
        let may_fetch = !is_fixed && again_at_ms <= now_ms && self.may_fetch(now_ms);
        may_fetch.then(|| Step::Fetch(self.fetch(now_ms)))
    }

    /// Takes what came of a request at `now_ms`: an answer, or a clause that says why there is none. What comes later than
    /// [`AuthLimits::fetch_ms_max`] is passed over.
    pub fn fetched(&mut self, fetch: &Fetch, answer: Result<Answer<'_>, String>, now_ms: u64) {
        self.give_up_on_silence(now_ms);
        let Some(fetching) = self.fetching.take_if(|fetching| fetching.fetch == *fetch) else { return };
        match answer.map_err(|reason| (None, reason)).and_then(|answer| self.take(&fetching, answer, now_ms))
        {
            Ok(()) => {}
            Err((status, reason)) => self.failed(fetching.fetch.url, status, reason, now_ms),
        }
    }

    fn take(
        &mut self,
        fetching: &Fetching,
        answer: Answer<'_>,
        now_ms: u64,
    ) -> Result<(), (Option<u16>, String)> {
        if answer.status != 200 {
            return Err((Some(answer.status), format!("answered with the status {}", answer.status)));
        }
        let media_type =
            answer.content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let is_json = ["application/json", "application/jwk-set+json"]
            .iter()
            .any(|json| media_type.eq_ignore_ascii_case(json));
        let not_usable = |reason| (None, reason);
        if !is_json {
            return Err(not_usable("has another content type than application/json".to_owned()));
        }
        let request = fetching.fetch.request;
        let fresh_until_ms = now_ms.saturating_add(self.fresh_ms(answer.cache_control));
        let dated = (request, now_ms, fresh_until_ms);
        if fetching.is_key_set {
            let keys = KeySet::parse(answer.body, &self.limits).map_err(not_usable)?;
            self.keys = Some(Dated::new(Arc::new(keys), dated));
            self.failure = None;
        } else if let KeySource::Discovery { domain } = &self.source {
            let url = key_set_url(answer.body, domain, &self.limits).map_err(not_usable)?;
            self.key_set_url = Some(Dated::new(url, dated));
        }
        Ok(())
    }

    fn failed(&mut self, url: String, status: Option<u16>, reason: String, now_ms: u64) {
        // Next time the provider is asked where its keys are.
        self.key_set_url = None;
        let count = self.failure.as_ref().map_or(0, |failure| failure.count).saturating_add(1);
        let pause_ms = self.limits.retry_ms_min.saturating_mul(1 << (count - 1).min(30));
        let retry_at_ms = now_ms.saturating_add(pause_ms.min(self.limits.retry_ms_max));
        let error = self.unavailable(url, status, reason);
        self.failure = Some(Failure { error, count, retry_at_ms });
    }

    fn unavailable(&self, url: String, status: Option<u16>, reason: String) -> AuthError {
        AuthError::KeysUnavailable { kind: self.source.kind(), url, status, reason }
    }

    /// A request without an answer has failed; its caller may be gone.
    fn give_up_on_silence(&mut self, now_ms: u64) {
        let fetch_ms_max = self.limits.fetch_ms_max;
        let is_silent = |fetching: &mut Fetching| now_ms >= fetching.began_at_ms.saturating_add(fetch_ms_max);
        if let Some(fetching) = self.fetching.take_if(is_silent) {
            self.failed(fetching.fetch.url, None, "did not answer in time".to_owned(), now_ms);
        }
    }

    fn may_fetch(&self, now_ms: u64) -> bool {
        self.failure.as_ref().is_none_or(|failure| now_ms >= failure.retry_at_ms)
    }

    fn fetch(&mut self, now_ms: u64) -> Fetch {
        self.requests += 1;
        let known = self.key_set_url.as_ref().filter(|url| now_ms < url.fresh_until_ms);
        let (url, is_key_set) = match (&self.source, known) {
            (KeySource::Discovery { .. }, Some(url)) => (url.value.clone(), true),
            (KeySource::Discovery { .. }, None) => (self.source.url(), false),
            (KeySource::KeySet { .. }, _) => (self.source.url(), true),
        };
        let fetch = Fetch { request: self.requests, url };
        self.fetching = Some(Fetching { fetch: fetch.clone(), is_key_set, began_at_ms: now_ms });
        fetch
    }

    /// How long an answer is fresh, by its `Cache-Control` (RFC 9111, 5.2.2) and our limits.
    fn fresh_ms(&self, cache_control: Option<&str>) -> u64 {
        let directives = || cache_control.unwrap_or_default().split(',').map(str::trim);
        let is = |name: &str| directives().any(|directive| directive.eq_ignore_ascii_case(name));
        let max_age = directives().find_map(|directive| {
            let (name, seconds) = directive.split_once('=')?;
            let seconds = seconds.trim_matches('"').parse::<u64>().ok()?;
            name.eq_ignore_ascii_case("max-age").then(|| seconds.saturating_mul(1_000))
        });
        let asked = if is("no-store") || is("no-cache") { Some(0) } else { max_age };
        let (min, max) = (self.limits.fresh_ms_min, self.limits.fresh_ms_max);
        asked.unwrap_or(self.limits.fresh_ms).min(max).max(min)
    }
}

impl<T> Dated<T> {
    fn new(value: T, (request, fetched_at_ms, fresh_until_ms): (u64, u64, u64)) -> Dated<T> {
        Dated { value, request, fetched_at_ms, fresh_until_ms }
    }
}
