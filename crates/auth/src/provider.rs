//! Who may issue tokens.

use serde_json::{Map, Value, json};

use crate::{
    Algorithm, AuthError, AuthLimits, ConfigError, KeySet, ProviderKind, Refusal, Token, Verified, claims,
    document::{discovery_url, is_web_address, of_data_url},
    error::shown,
    issuer,
    limits::CLOCK_LEEWAY_SECONDS,
};

/// The providers of an app, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers(Vec<Provider>);

/// One that an app trusts to say who its users are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenID Connect: the provider says where its keys are.
    Oidc {
        /// Its issuer, as the app has it: perhaps without `https://`.
        domain: String,
        /// The audience that its tokens must have.
        application_id: String,
    },
    /// Any issuer of JSON web tokens.
    CustomJwt {
        /// What its tokens have as `iss`.
        issuer: String,
        /// Where its key set is: an address with `https://`, `http://` or `data:`.
        jwks: String,
        /// The one algorithm that it uses.
        algorithm: Algorithm,
        /// The audience that its tokens must have; `None` takes them whomever they are for.
        application_id: Option<String>,
    },
}

/// Where the keys of a provider come from. Providers with the same source share a [`crate::KeyCache`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySource {
    /// A discovery document names the key set.
    Discovery {
        /// The provider's domain.
        domain: String,
    },
    /// The key set is at this address, which can be a `data:` one.
    KeySet {
        /// The address.
        url: String,
    },
}

impl Providers {
    /// Reads the `providers` of an app's `auth.config`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_json(json: &Value, limits: &AuthLimits) -> Result<Providers, ConfigError> {
        let list = json.as_array().ok_or(ConfigError::NoList)?;
        if list.len() > limits.providers_max {
            return Err(ConfigError::TooManyProviders { count: list.len(), count_max: limits.providers_max });
        }
        let read = |(place, provider): (usize, &Value)| Provider::from_json(place + 1, provider, limits);
        list.iter().enumerate().map(read).collect::<Result<_, _>>().map(Providers)
    }

    /// The first provider whose issuer and audience are those of a token.
    ///
    /// # Errors
    /// [`AuthError::NoProvider`].
    pub fn find(&self, token: &Token<'_>) -> Result<&Provider, AuthError> {
        self.0.iter().find(|provider| provider.matches(token)).ok_or_else(|| {
            let audiences = token.audiences().unwrap_or_default();
            let audience = match audiences[..] {
                [] => "nobody in particular".to_owned(),
                _ => format!("`{}`", shown(&audiences.join("`, `"))),
            };
            AuthError::NoProvider {
                issuer: shown(token.issuer()),
                audience,
                providers: self.0.iter().map(Provider::in_words).collect(),
            }
        })
    }

    /// As the push protocol shows them, and as they are stored: [`Providers::from_json`] gives the same again.
    pub fn to_json(&self) -> Value {
        self.iter().map(Provider::to_json).collect()
    }

    /// Whether nobody may issue tokens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}

impl Provider {
    fn from_json(place: usize, json: &Value, limits: &AuthLimits) -> Result<Provider, ConfigError> {
        let invalid = |reason: String| ConfigError::InvalidProvider { place, reason };
        let object = json.as_object().ok_or(ConfigError::NoList)?;
        let checked = |name: &'static str| {
            let domain = text(object, name).map_err(invalid)?.ok_or_else(|| missing(place, name))?;
            match issuer::check(&domain) {
                Ok(()) => Ok(domain),
                Err(reason) => Err(ConfigError::InvalidDomain { place, domain: shown(&domain), reason }),
            }
        };
        let application_id = text(object, "applicationID").map_err(invalid)?;
        match text(object, "type").map_err(invalid)?.as_deref() {
            None => Ok(Provider::Oidc {
                domain: checked("domain")?,
                application_id: application_id.ok_or_else(|| missing(place, "applicationID"))?,
            }),
            Some("customJwt") => {
                let jwks = text(object, "jwks").map_err(invalid)?.ok_or_else(|| missing(place, "jwks"))?;
                check_key_set(&jwks, limits).map_err(|reason| invalid(format!("its `jwks` {reason}")))?;
                let algorithm = text(object, "algorithm").map_err(invalid)?;
                let algorithm = algorithm.ok_or_else(|| missing(place, "algorithm"))?;
                let algorithm = Algorithm::of_name(&algorithm).ok_or_else(|| {
                    invalid(format!(
                        "its `algorithm` must be {}, not `{}`",
                        names(&Algorithm::ALL),
                        shown(&algorithm)
                    ))
                })?;
                Ok(Provider::CustomJwt { issuer: checked("issuer")?, jwks, algorithm, application_id })
            }
            Some(other) => {
                Err(invalid(format!("its `type` must be \"customJwt\", or left out, not `{}`", shown(other))))
            }
        }
    }

    /// As the push protocol shows it.
    pub fn to_json(&self) -> Value {
        match self {
            Provider::Oidc { domain, application_id } => {
                json!({"domain": domain, "applicationID": application_id})
            }
            Provider::CustomJwt { issuer, jwks, algorithm, application_id } => json!({
                "type": "customJwt",
                "issuer": issuer,
                "jwks": jwks,
                "algorithm": algorithm.name(),
                "applicationID": application_id,
            }),
        }
    }

    /// Where its keys come from.
    pub fn key_source(&self) -> KeySource {
        match self {
            Provider::Oidc { domain, .. } => KeySource::Discovery { domain: issuer::normalized(domain) },
            Provider::CustomJwt { jwks, .. } => KeySource::KeySet { url: jwks.clone() },
        }
    }

    /// Holds a token that [`Providers::find`] has given to this provider against its keys, and the time, in milliseconds since
    /// the Unix epoch.
    ///
    /// # Errors
    /// [`AuthError::Refused`].
    pub fn verify(&self, token: &Token<'_>, keys: &KeySet, now_ms: u64) -> Result<Verified, AuthError> {
        assert!(self.matches(token), "`find` has chosen the provider");
        let verified = self.verify_signature(token, keys).and_then(|()| self.verify_claims(token, now_ms));
        verified.map_err(|refusal| AuthError::Refused { kind: self.kind(), refusal })
    }

    fn verify_signature(&self, token: &Token<'_>, keys: &KeySet) -> Result<(), Refusal> {
        let allowed = match self {
            Provider::Oidc { .. } => &Algorithm::ALL[..],
            Provider::CustomJwt { algorithm, .. } => std::slice::from_ref(algorithm),
        };
        let algorithm = Algorithm::of_name(&token.algorithm).filter(|algorithm| allowed.contains(algorithm));
        let Some(algorithm) = algorithm else {
            return Err(Refusal::AlgorithmNotAllowed {
                algorithm: shown(&token.algorithm),
                allowed: names(allowed),
            });
        };
        keys.verify(token, algorithm)
    }

    fn verify_claims(&self, token: &Token<'_>, now_ms: u64) -> Result<Verified, Refusal> {
        // Doubles are exact far beyond any date.
        let now = now_ms as f64 / 1_000.0;
        let is_custom = self.kind() == ProviderKind::CustomJwt;
        let expires = time(token, "exp")?;
        let expires = expires.ok_or(Refusal::InvalidClaim { claim: "exp", wanted: A_TIME })?;
        let valid_until = expires + if is_custom { CLOCK_LEEWAY_SECONDS } else { 0.0 };
        if now >= valid_until {
            return Err(Refusal::Expired { seconds: (now - expires) as u64 });
        }
        // When it was made is of no account to an OIDC provider's token, which says by `nbf` from when on it holds.
        let of_beginning: &[&'static str] = if is_custom { &["nbf", "iat"] } else { &["nbf"] };
        for claim in of_beginning.iter().copied() {
            let begins = time(token, claim)?;
            if let Some(ahead) =
                begins.map(|begins| begins - now).filter(|ahead| *ahead > CLOCK_LEEWAY_SECONDS)
            {
                return Err(Refusal::NotYetValid { claim, seconds: ahead as u64 });
            }
        }
        let subject = token.claim("sub").ok_or(Refusal::InvalidClaim { claim: "sub", wanted: "a string" })?;
        let count = token.audiences().unwrap_or_default().len();
        if !is_custom && count > 1 {
            return Err(Refusal::SeveralAudiences { count });
        }
        let identity = match self.kind() {
            ProviderKind::Oidc => claims::of_oidc(token.issuer(), subject, &token.claims),
            ProviderKind::CustomJwt => claims::of_custom(token.issuer(), subject, &token.claims),
        };
        Ok(Verified { identity, valid_until_ms: (valid_until * 1_000.0) as u64 })
    }

    fn matches(&self, token: &Token<'_>) -> bool {
        let (issuer, application_id) = match self {
            Provider::Oidc { domain, application_id } => (domain, Some(application_id)),
            Provider::CustomJwt { issuer, application_id, .. } => (issuer, application_id.as_ref()),
        };
        let audiences = token.audiences().unwrap_or_default();
        issuer::normalized(issuer) == issuer::normalized(token.issuer())
            && application_id.is_none_or(|id| audiences.contains(&id.as_str()))
    }

    /// Of which kind it is.
    pub fn kind(&self) -> ProviderKind {
        match self {
            Provider::Oidc { .. } => ProviderKind::Oidc,
            Provider::CustomJwt { .. } => ProviderKind::CustomJwt,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Provider::Oidc { domain, application_id } => {
                format!("OIDC `{domain}` with the application id `{application_id}`")
            }
            Provider::CustomJwt { issuer, application_id: Some(id), .. } => {
                format!("custom JWT `{issuer}` with the application id `{id}`")
            }
            Provider::CustomJwt { issuer, application_id: None, .. } => {
                format!("custom JWT `{issuer}` for any audience")
            }
        }
    }
}

const A_TIME: &str = "a number of seconds since 1970";

fn time(token: &Token<'_>, claim: &'static str) -> Result<Option<f64>, Refusal> {
    match token.claims.get(claim) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Refusal::InvalidClaim { claim, wanted: A_TIME }),
    }
}

fn check_key_set(url: &str, limits: &AuthLimits) -> Result<(), String> {
    if let Some(contents) = of_data_url(url) {
        let keys = KeySet::parse(&contents, limits)?;
        return if keys.is_empty() { Err("holds no key that can verify a token".to_owned()) } else { Ok(()) };
    }
    let is_data = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    match is_data {
        true => Err("is not a `data:` address with a key set".to_owned()),
        false if is_web_address(url) => Ok(()),
        false => Err("must be an address with https://, http:// or data:".to_owned()),
    }
}

fn names(algorithms: &[Algorithm]) -> String {
    algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
}

fn missing(place: usize, name: &str) -> ConfigError {
    ConfigError::InvalidProvider { place, reason: format!("its `{name}` is missing") }
}

/// A string of a provider, if it is there.
fn text(object: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("its `{name}` must be a string")),
    }
}

impl KeySource {
    /// What is fetched first.
    pub(crate) fn url(&self) -> String {
        match self {
            KeySource::Discovery { domain } => discovery_url(domain),
            KeySource::KeySet { url } => url.clone(),
        }
    }

    pub(crate) fn kind(&self) -> ProviderKind {
        match self {
            KeySource::Discovery { .. } => ProviderKind::Oidc,
            KeySource::KeySet { .. } => ProviderKind::CustomJwt,
        }
    }
}
