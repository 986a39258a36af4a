//! The client.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::{sync::OnceCell, time::timeout};
use url::{Host, Url};

use crate::{
    EgressLimits, Error, Policy,
    request::{
        Redirects, Request, RequestBody, Response, remove_body_headers, remove_hop_by_hop, remove_secrets,
    },
};

/// Sends requests. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    policy: Arc<Policy>,
    limits: EgressLimits,
    /// There from the first request on.
    library: OnceCell<reqwest::Client>,
}

/// What one request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From its beginning to the end of the answer's body, redirects included.
    pub time_max: Duration,
    /// Of the body, decompressed.
    pub body_bytes_max: usize,
}

/// An answer, after redirects.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Bytes,
}

impl Client {
    /// Does nothing yet.
    pub fn new(policy: Policy, limits: EgressLimits) -> Client {
        Client { shared: Arc::new(Shared { policy: Arc::new(policy), limits, library: OnceCell::new() }) }
    }

    /// Gets a document. An answer with any status is an answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, url: &str, accept: &'static str, bounds: Bounds) -> Result<Answer, Error> {
        let request = Request {
            method: Method::GET,
            url: url.to_owned(),
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]),
            body: RequestBody::Empty,
            redirects: Redirects::Follow,
        };
        let answered = async { whole(self.send(request).await?, bounds.body_bytes_max).await };
        match timeout(bounds.time_max, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// Sends a request. Whoever asks bounds how long that may take, and reads the body as fast as they like. An answer with
    /// any status is an answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        self.shared.send(request).await
    }
}

impl Shared {
    /// What a redirect changes is as the Fetch standard has it.
    async fn send(&self, request: Request) -> Result<Response, Error> {
        let Request { mut method, url, mut headers, mut body, redirects } = request;
        let mut url = Url::parse(&url).map_err(|_| Error::InvalidUrl)?;
        remove_hop_by_hop(&mut headers);
        let library = self.library.get_or_try_init(|| self.library()).await?;
        for followed in 0..=self.limits.redirects_max {
            self.check(&url)?;
            let builder = library.request(method.clone(), url.clone()).headers(headers.clone());
            let (builder, is_streamed) = match std::mem::replace(&mut body, RequestBody::Empty) {
                // Some servers wait for a body, or refuse what does not say that there is none.
                RequestBody::Empty if matches!(method, Method::POST | Method::PUT) => {
                    (builder.header(CONTENT_LENGTH, HeaderValue::from_static("0")), false)
                }
                RequestBody::Empty => (builder, false),
                RequestBody::Whole(bytes) => {
                    body = RequestBody::Whole(bytes.clone());
                    (builder.body(bytes), false)
                }
                RequestBody::Stream(chunks) => (builder.body(reqwest::Body::wrap(chunks)), true),
            };
            let response = builder.send().await?;
            let status = response.status();
            let next = match (next(&url, status, response.headers()), redirects) {
                (Some(_), Redirects::Refuse) => return Err(Error::Redirected),
                (Some(next), Redirects::Follow) => next,
                (None, _) | (_, Redirects::Return) => return Ok(answered(url, followed > 0, response)),
            };
            let becomes_get = match status.as_u16() {
                303 => !matches!(method, Method::GET | Method::HEAD),
                301 | 302 => method == Method::POST,
                _ => false,
            };
            if becomes_get {
                method = Method::GET;
                body = RequestBody::Empty;
                remove_body_headers(&mut headers);
            } else if is_streamed {
                return Err(Error::Redirected);
            }
            if next.origin() != url.origin() {
                remove_secrets(&mut headers);
            }
            url = next;
        }
        Err(Error::TooManyRedirects { redirects_max: self.limits.redirects_max })
    }

    /// What the resolver does not see: schemes, and addresses that stand in the URL.
    fn check(&self, url: &Url) -> Result<(), Error> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::InvalidUrl);
        }
        match url.host() {
            Some(Host::Domain(name)) => self.policy.check_name(name)?,
            Some(Host::Ipv4(address)) => self.policy.check_address(None, IpAddr::V4(address))?,
            Some(Host::Ipv6(address)) => self.policy.check_address(None, IpAddr::V6(address))?,
            None => return Err(Error::InvalidUrl),
        }
        Ok(())
    }

    async fn library(&self) -> Result<reqwest::Client, Error> {
        let unusable = |reason: String| Error::Unreachable { reason };
        // Reads files.
        let tls = tokio::task::spawn_blocking(tls).await.map_err(|error| unusable(error.to_string()))?;
        let limits = &self.limits;
        let resolver = Resolver { policy: self.policy.clone() };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.map_err(|error| unusable(error.to_string()))?)
            .dns_resolver(resolver)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(concat!("tidemark/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(limits.connect_ms_max))
            .pool_max_idle_per_host(limits.idle_connections_max)
            .pool_idle_timeout(Duration::from_millis(limits.idle_ms_max))
            .http2_max_header_list_size(limits.head_bytes_max);
        builder.build().map_err(|error| unusable(error.to_string()))
    }
}

/// Where an answer sends us, if it does. An address that can't be read leads nowhere: the answer is the answer.
fn next(url: &Url, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = headers.get(LOCATION).filter(|_| redirects)?;
    url.join(std::str::from_utf8(location.as_bytes()).ok()?).ok()
}

fn answered(url: Url, is_redirected: bool, mut response: reqwest::Response) -> Response {
    Response {
        status: response.status().as_u16(),
        status_text: response.status().canonical_reason().unwrap_or_default(),
        url: url.into(),
        is_redirected,
        headers: std::mem::take(response.headers_mut()),
        body: response,
    }
}

async fn whole(mut response: Response, bytes_max: usize) -> Result<Answer, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > bytes_max - body.len() {
            return Err(Error::TooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status, headers: response.headers, body: body.freeze() })
}

/// Trusts what the system trusts. A certificate that can't be read is passed over, as others do.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Resolves names as the system does, and passes on the addresses that the policy lets through.
struct Resolver {
    policy: Arc<Policy>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let name = name.as_str();
            policy.check_name(name)?;
            let mut denied = None;
            let found = tokio::net::lookup_host((name, 0)).await?;
            let admitted: Vec<_> = found
                .filter(|address| match policy.check_address(Some(name), address.ip()) {
                    Ok(()) => true,
                    Err(why) => {
                        denied = Some(why);
                        false
                    }
                })
                .collect();
            match denied {
                Some(why) if admitted.is_empty() => Err(why.into()),
                _ => Ok(Box::new(admitted.into_iter()) as Addrs),
            }
        })
    }
}
