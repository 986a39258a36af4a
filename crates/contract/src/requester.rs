//! Who has sent the request behind a call, as far as functions may ask.

use std::{fmt, net::IpAddr, sync::Arc};

/// What functions see of the request that has led to their call, besides its id (`ctx.meta.getRequestMetadata()`). Those that a
/// function calls see the same. Nothing is known where there was no request: of what is scheduled, and of cron jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The client's address, as far as that can be known behind proxies.
    pub ip: Option<IpAddr>,
    /// What the client says of itself.
    pub user_agent: Option<Arc<str>>,
    /// What has shown in whose name the request comes. An admin key is none.
    pub token: Option<AuthToken>,
}

/// A token of a user, as the client has sent it. It does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthToken(pub Arc<str>);

impl fmt::Debug for AuthToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AuthToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_show_itself() {
        let requester = Requester { token: Some(AuthToken("secret".into())), ..Requester::default() };
        assert!(!format!("{requester:?}").contains("secret"));
    }
}
