//! Why a token, or an app's list of providers, is not taken.

use contract::ErrorKind;

/// The two kinds of providers, with their own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenID Connect.
    Oidc,
    /// Any issuer with a key set.
    CustomJwt,
}

/// Why an app's providers are refused. The text is a clause: whoever shows it says before it in which file they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A domain or issuer is not the address of a web server.
    #[error("the domain of provider {place}, `{domain}`, can't be used: {reason}")]
    InvalidDomain {
        /// Which one of the list, from 1.
        place: usize,
        /// As the app has it.
        domain: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A provider is not one.
    #[error("provider {place} can't be used: {reason}")]
    InvalidProvider {
        /// Which one of the list, from 1.
        place: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no list.
    #[error("its providers must be an array of objects")]
    NoList,
    /// There are too many.
    #[error("it has {count} providers, more than the {count_max} that are allowed")]
    TooManyProviders {
        /// How many there are.
        count: usize,
        /// How many there may be.
        count_max: usize,
    },
}

impl ConfigError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::InvalidDomain { .. } => "InvalidProviderDomainUrl",
            ConfigError::InvalidProvider { .. }
            | ConfigError::NoList
            | ConfigError::TooManyProviders { .. } => "InvalidAuthConfig",
        }
    }
}

/// Why a token does not name a user. Texts are sentences for the client's developer; they say of the token at most its issuer,
/// its audience, and which key and algorithm it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It has too many bytes.
    #[error("The token has {bytes} bytes, more than the {bytes_max} that are allowed.")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// It is not a signed JSON web token.
    #[error("The token could not be decoded: {reason}.")]
    NotDecoded {
        /// What is wrong.
        reason: String,
    },
    /// It is of no provider that the app knows.
    #[error(
        "No auth provider matches the token, which is issued by `{issuer}` for {audience}. {}",
        configured(.providers)
    )]
    NoProvider {
        /// Its issuer.
        issuer: String,
        /// For whom it is, in words.
        audience: String,
        /// What the app has configured, in words.
        providers: Vec<String>,
    },
    /// It does not hold.
    #[error("The token could not be verified: {refusal}.")]
    Refused {
        /// Of which kind its provider is.
        kind: ProviderKind,
        /// Why.
        refusal: Refusal,
    },
    /// The provider's keys can't be had.
    #[error("The keys of the auth provider could not be fetched: {url} {reason}.")]
    KeysUnavailable {
        /// Of which kind the provider is.
        kind: ProviderKind,
        /// What was asked for.
        url: String,
        /// The status that was answered, if it was an answer and no good one.
        status: Option<u16>,
        /// What happened, as what follows the address.
        reason: String,
    },
}

fn configured(providers: &[String]) -> String {
    if providers.is_empty() {
        "This deployment has no auth providers configured: `auth.config.ts` names them.".to_owned()
    } else {
        format!("Configured are: {}.", providers.join("; "))
    }
}

/// Why a token of a known provider does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is signed in a way that the provider does not use, or not at all.
    #[error("its algorithm `{algorithm}` is not allowed for this provider, which uses {allowed}")]
    AlgorithmNotAllowed {
        /// As the token names it.
        algorithm: String,
        /// What is allowed, in words.
        allowed: String,
    },
    /// None of the keys is its key.
    #[error("the provider has no key {}for {algorithm}", .key_id.as_ref().map(|id| format!("with the id `{id}` ")).unwrap_or_default())]
    UnknownKey {
        /// The key's id, if the token names one.
        key_id: Option<String>,
        /// For which it must be.
        algorithm: &'static str,
    },
    /// Any of several keys could be its key.
    #[error("{count} keys of the provider could be its key, and its header does not say which (`kid`)")]
    AmbiguousKey {
        /// How many.
        count: usize,
    },
    /// Another key signed it, or something else.
    #[error("its signature is not right")]
    BadSignature,
    /// It is over.
    #[error("it has expired {seconds} seconds ago")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// It begins later, or was made later than it is now.
    #[error(
        "its `{claim}` is {seconds} seconds in the future: is the clock of the issuer, or of this server, wrong?"
    )]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// How long it is to go.
        seconds: u64,
    },
    /// It is for more than one application.
    #[error("it is for {count} audiences, and must be for one")]
    SeveralAudiences {
        /// How many.
        count: usize,
    },
    /// A claim is missing or of another type.
    #[error("its claim `{claim}` must be {wanted}")]
    InvalidClaim {
        /// Which.
        claim: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Refusal {
    /// Whether other keys of the provider could change it.
    pub fn is_about_the_key(&self) -> bool {
        matches!(self, Refusal::UnknownKey { .. } | Refusal::AmbiguousKey { .. } | Refusal::BadSignature)
    }
}

impl AuthError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            AuthError::TooLarge { .. } | AuthError::NotDecoded { .. } => "InvalidAuthHeader",
            AuthError::NoProvider { .. } => "NoAuthProvider",
            AuthError::Refused { kind: ProviderKind::Oidc, .. } => "Unauthenticated",
            AuthError::Refused { kind: ProviderKind::CustomJwt, .. } => "InvalidAuthHeader",
            AuthError::KeysUnavailable { kind: ProviderKind::Oidc, .. } => "AuthProviderDiscoveryFailed",
            AuthError::KeysUnavailable { kind: ProviderKind::CustomJwt, .. } => "InvalidAuthHeader",
        }
    }

    /// Whether the same token may be taken later: its provider could not be asked.
    pub fn may_pass(&self) -> bool {
        match self {
            AuthError::KeysUnavailable { status, .. } => {
                status.is_none_or(|status| matches!(status, 408 | 429 | 500..))
            }
            _ => false,
        }
    }

    /// Decides the status. All but what an OIDC provider's own server answers is the caller's credentials.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AuthError::KeysUnavailable { kind: ProviderKind::Oidc, status, .. } => match status {
                Some(401) => ErrorKind::Unauthenticated,
                Some(403) => ErrorKind::Forbidden,
                Some(404) => ErrorKind::NotFound,
                Some(429) => ErrorKind::TooManyRequests,
                Some(400..500) => ErrorKind::BadRequest,
                _ => ErrorKind::Overloaded,
            },
            _ => ErrorKind::Unauthenticated,
        }
    }
}

impl From<AuthError> for contract::Error {
    fn from(error: AuthError) -> contract::Error {
        contract::Error::new(error.kind(), error.code(), error.to_string())
    }
}

/// What a stranger has written, short enough for a message and without control characters.
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    let mut characters =
        text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character });
    let mut shown: String = characters.by_ref().take(CHARACTERS_MAX).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shown_in_part_and_says_so() {
        let cases = [("é", "é"), ("\n", "\u{fffd}"), ("\0", "\u{fffd}")];
        for (character, expected) in cases {
            let long = |count| character.repeat(count);
            assert_eq!(shown(&long(200)), expected.repeat(200));
            assert_eq!(shown(&long(201)), format!("{}…", expected.repeat(200)));
        }
    }
}
