//! How each kind of receiver wants its events: pure, from events to requests.

mod axiom;
mod datadog;
mod otlp;
mod post_hog;
mod sentry;
mod webhook;

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use egress::{HeaderMap, HeaderName, HeaderValue, Method, Redirects, Request, RequestBody};

use crate::{
    configuration::{Configuration, Secrets},
    events::{Event, Origin},
};

/// A request that tells some events.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Told {
    fn new(url: String, content_type: &'static str, body: Vec<u8>) -> Told {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static(content_type),
        )]);
        Told { url, headers, body: body.into() }
    }

    /// A header that must not be logged. One that can't be sent is left out: the configuration was checked.
    fn with_secret(mut self, name: &'static str, value: &str) -> Told {
        if let Ok(mut value) = HeaderValue::try_from(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    pub fn request(&self) -> Request {
        Request {
            method: Method::POST,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: RequestBody::Whole(self.body.clone()),
            // Whoever sends it elsewhere is not the receiver that was named.
            redirects: Redirects::Refuse,
        }
    }
}

/// As RFC 3339 has it, in UTC.
fn time(timestamp_ms: u64) -> String {
    let time = i64::try_from(timestamp_ms).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The requests that tell a stream's receiver these events. None where there is nothing for it in them.
pub(crate) fn told(secrets: &Secrets, origin: &Origin, events: &[Arc<Event>]) -> Vec<Told> {
    if events.is_empty() {
        return Vec::new();
    }
    match &secrets.configuration {
        Configuration::Webhook { url, format, .. } => {
            let secret = secrets.hmac_secret.as_deref().unwrap_or_default();
            vec![webhook::told(url, *format, secret, origin, events)]
        }
        Configuration::Axiom { api_key, dataset_name, attributes, ingest_url, .. } => {
            vec![axiom::told(api_key, dataset_name, attributes, ingest_url.as_deref(), (origin, events))]
        }
        Configuration::Datadog { dd_api_key, dd_tags, site_location, service, .. } => {
            vec![datadog::told(dd_api_key, dd_tags, *site_location, service.as_deref(), (origin, events))]
        }
        Configuration::Sentry { dsn, tags } => sentry::told(dsn, tags.as_ref(), origin, events),
        Configuration::PostHogLogs { api_key, host, service_name, .. } => {
            vec![post_hog::logs(api_key, host.as_deref(), service_name.as_deref(), (origin, events))]
        }
        Configuration::PostHogErrorTracking { api_key, host } => {
            post_hog::exceptions(api_key, host.as_deref(), origin, events).into_iter().collect()
        }
        Configuration::Otlp { endpoint, headers, service_name, .. } => {
            vec![otlp::told(endpoint, headers, service_name.as_deref(), (origin, events))]
        }
    }
}

/// An address with a path behind that of another.
fn below(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}
