//! From a header or a message to an identity.

use std::{collections::BTreeMap, sync::Arc};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::{AuthToken, Identity, UserIdentity};
use serde_json::value::RawValue;

use crate::{
    admin_key::AdminKeys,
    deployments::Deployment,
    edge::Edge,
    error::{ApiError, public_message},
};

/// What a request shows of who sent it.
#[derive(Debug, PartialEq)]
enum Credentials<'h> {
    /// They say it themselves.
    Known(Identity),
    /// A token, which is still to be verified.
    Token(&'h str),
}

/// Who sent a request, or speaks on a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sender {
    pub identity: Identity,
    /// What has shown it, if that was a token.
    pub token: Option<AuthToken>,
}

impl From<Identity> for Sender {
    fn from(identity: Identity) -> Sender {
        Sender { identity, token: None }
    }
}

impl Sender {
    pub(crate) fn of_user(user: UserIdentity, token: &str) -> Sender {
        Sender { identity: Identity::User(user), token: Some(AuthToken(token.into())) }
    }
}

/// Who sent a request.
pub(crate) async fn sender_of(
    edge: &Edge,
    deployment: &Arc<Deployment>,
    headers: &HeaderMap,
) -> Result<Sender, ApiError> {
    sender_until(edge, deployment, headers).await.map(|(sender, _)| sender)
}

/// Who sent a request, and until when that holds: milliseconds since the Unix epoch, `None` without an end.
pub(crate) async fn sender_until(
    edge: &Edge,
    deployment: &Arc<Deployment>,
    headers: &HeaderMap,
) -> Result<(Sender, Option<u64>), ApiError> {
    match credentials_of(headers, &deployment.admin_keys)? {
        Credentials::Known(identity) => Ok((identity.into(), None)),
        Credentials::Token(token) => {
            let verified = edge.tokens.verify(&edge.services, deployment, token).await;
            let verified = verified.map_err(contract::Error::from)?;
            Ok((Sender::of_user(verified.identity, token), Some(verified.valid_until_ms)))
        }
    }
}

/// Who sent a request that an HTTP action answers. What stands in its header may be meant for the app and no token of its
/// users, so that it is answered all the same.
pub(crate) async fn sender_or_reason(
    edge: &Edge,
    deployment: &Arc<Deployment>,
    headers: &HeaderMap,
) -> Sender {
    let reason = match credentials_of(headers, &deployment.admin_keys) {
        Ok(Credentials::Known(identity)) => return identity.into(),
        Ok(Credentials::Token(token)) => match edge.tokens.verify(&edge.services, deployment, token).await {
            Ok(verified) => return Sender::of_user(verified.identity, token),
            Err(error) => contract::Error::from(error),
        },
        Err(error) => error.into(),
    };
    let message = public_message(&reason);
    Identity::Unverified(Box::new(contract::Error { message, ..reason })).into()
}

/// By the `Authorization` header: `Convex <admin key>`, with `:<base64 of identity attributes>` behind it to act as a user,
/// or `Bearer <token>`.
fn credentials_of<'h>(headers: &'h HeaderMap, keys: &AdminKeys) -> Result<Credentials<'h>, ApiError> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Credentials::Known(Identity::Anonymous)) };
    let text = header.to_str().map_err(|_| invalid_header())?;
    let (scheme, credentials) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return if credentials.is_empty() {
            Err(invalid_header())
        } else {
            Ok(Credentials::Token(credentials))
        };
    }
    if !scheme.eq_ignore_ascii_case("convex") {
        return Err(invalid_header());
    }
    // A colon before the bar belongs to the key, the first one behind it begins the identity.
    let bar = credentials.find('|').ok_or_else(bad_key)?;
    let (key, acting_as) = match credentials[bar..].find(':') {
        Some(colon) => (&credentials[..bar + colon], Some(&credentials[bar + colon + 1..])),
        None => (credentials, None),
    };
    let decode = |encoded: &str| {
        let json = BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        json.ok_or_else(|| invalid_identity("it is not the base64 of UTF-8"))
    };
    let acting_as = acting_as.map(decode).transpose()?;
    admin(keys, key, acting_as.as_deref()).map(Credentials::Known)
}

/// The holder of `key`, acting as the user whose attributes are the JSON object `acting_as`.
pub(crate) fn admin(keys: &AdminKeys, key: &str, acting_as: Option<&str>) -> Result<Identity, ApiError> {
    if !keys.accepts(key) {
        return Err(bad_key());
    }
    let acting_as = acting_as.map(user_from_attributes).transpose()?;
    Ok(Identity::Admin { key_name: keys.deployment_name().to_owned(), acting_as })
}

/// Refuses whoever is not an administrator.
pub(crate) fn require_admin(headers: &HeaderMap, keys: &AdminKeys) -> Result<Identity, ApiError> {
    match credentials_of(headers, keys)? {
        Credentials::Known(identity @ Identity::Admin { .. }) => Ok(identity),
        _ => Err(ApiError::unauthorized(
            "MissingAdminKey",
            "This needs the header \"Authorization: Convex <admin key>\".",
        )),
    }
}

fn bad_key() -> ApiError {
    ApiError::forbidden("BadDeployKey", "The admin key is not valid for this deployment.")
}

fn invalid_header() -> ApiError {
    ApiError::unauthorized(
        "InvalidAuthHeader",
        "The Authorization header must be \"Convex <admin key>\" or \"Bearer <token>\".",
    )
}

fn invalid_identity(why: &str) -> ApiError {
    ApiError::bad_request("InvalidIdentity", format!("The identity to act as can't be used: {why}."))
}

/// Every function sees a token identifier, an issuer and a subject; the first is made of the other two or split into them.
fn user_from_attributes(json: &str) -> Result<UserIdentity, ApiError> {
    let raw: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(json).map_err(|_| invalid_identity("it is not a JSON object"))?;
    let mut attributes: BTreeMap<String, String> = raw
        .into_iter()
        .map(|(name, value)| (name, value.get().to_owned()))
        .filter(|(_, value)| value != "null")
        .collect();
    let text = |name: &str| -> Result<Option<String>, ApiError> {
        let parse = |value: &String| serde_json::from_str(value);
        attributes
            .get(name)
            .map(parse)
            .transpose()
            .map_err(|_| invalid_identity(&format!("{name} must be a string")))
    };
    let (token_identifier, issuer, subject) = (text("tokenIdentifier")?, text("issuer")?, text("subject")?);
    let (issuer, subject) = match (&token_identifier, issuer, subject) {
        (_, Some(issuer), Some(subject)) => (issuer, subject),
        (Some(identifier), issuer, subject) => {
            let (from_issuer, from_subject) = identifier
                // An issuer is a URL, which has no bar; a subject may have some.
                .split_once('|')
                .ok_or_else(|| invalid_identity("tokenIdentifier must be an issuer, a bar and a subject"))?;
            (
                issuer.unwrap_or_else(|| from_issuer.to_owned()),
                subject.unwrap_or_else(|| from_subject.to_owned()),
            )
        }
        (None, ..) => return Err(invalid_identity("it needs tokenIdentifier, or both issuer and subject")),
    };
    let token_identifier = token_identifier.unwrap_or_else(|| format!("{issuer}|{subject}"));
    for (name, value) in [("tokenIdentifier", token_identifier), ("issuer", issuer), ("subject", subject)] {
        let json = serde_json::to_string(&value).expect("a string has a JSON form");
        attributes.insert(name.to_owned(), json);
    }
    Ok(UserIdentity { attributes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin_key::tests::opened_by;

    const KEY: &str = "dev|01abcdef";

    fn keys() -> AdminKeys {
        AdminKeys::of(&opened_by(KEY))
    }

    fn identity(header: &str) -> Result<Identity, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().expect("a header"));
        match credentials_of(&headers, &keys())? {
            Credentials::Known(identity) => Ok(identity),
            Credentials::Token(token) => panic!("{token} is no identity yet"),
        }
    }

    fn code(result: Result<Identity, ApiError>) -> String {
        result.expect_err("must be refused").code().to_owned()
    }

    #[test]
    fn no_header_is_anonymous() {
        let headers = HeaderMap::new();
        let none = credentials_of(&headers, &keys()).ok();
        assert_eq!(none, Some(Credentials::Known(Identity::Anonymous)));
    }

    #[test]
    fn what_follows_bearer_is_a_token() {
        for header in ["Bearer a.b.c", "bearer  a.b.c "] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().expect("a header"))]);
            assert_eq!(credentials_of(&headers, &keys()).ok(), Some(Credentials::Token("a.b.c")));
            let refused = require_admin(&headers, &keys()).expect_err("no administrator");
            assert_eq!(refused.code(), "MissingAdminKey");
        }
    }

    #[test]
    fn an_admin_key_may_carry_an_identity_behind_a_colon() {
        let key = KEY;
        let plain = identity(&format!("Convex {key}")).expect("valid");
        assert_eq!(plain, Identity::Admin { key_name: "dev".to_owned(), acting_as: None });
        assert_eq!(identity(&format!("convex prod:{key}")).expect("valid"), plain);

        let attributes =
            BASE64_STANDARD.encode(r#"{"issuer":"https://x","subject":"s","name":"Bob","admin":true}"#);
        let acting = identity(&format!("Convex prod:{key}:{attributes}")).expect("valid");
        let user = acting.user().expect("acts as a user");
        assert_eq!(user.attributes["tokenIdentifier"], r#""https://x|s""#);
        assert_eq!(user.attributes["name"], r#""Bob""#);
        assert_eq!(user.attributes["admin"], "true");
    }

    #[test]
    fn the_token_identifier_alone_is_enough() {
        let user = user_from_attributes(r#"{"tokenIdentifier":"https://x|s"}"#).expect("valid");
        assert_eq!(
            (&user.attributes["issuer"][..], &user.attributes["subject"][..]),
            (r#""https://x""#, r#""s""#)
        );
        let user = user_from_attributes(r#"{"tokenIdentifier":"https://x|oidc|s"}"#).expect("valid");
        assert_eq!(user.attributes["subject"], r#""oidc|s""#);
    }

    #[test]
    fn wrong_credentials_are_refused_by_code() {
        let key = KEY;
        assert_eq!(code(identity("Convex dev|00")), "BadDeployKey");
        assert_eq!(code(identity("Convex nonsense")), "BadDeployKey");
        assert_eq!(code(identity("Convex")), "BadDeployKey");
        assert_eq!(code(identity("nonsense")), "InvalidAuthHeader");
        assert_eq!(code(identity("Basic abc")), "InvalidAuthHeader");
        assert_eq!(code(identity("Bearer ")), "InvalidAuthHeader");
        assert_eq!(code(identity(&format!("Convex {key}:%%%"))), "InvalidIdentity");
        for attributes in
            ["[]", "{}", r#"{"subject":"s"}"#, r#"{"subject":1,"issuer":"x"}"#, r#"{"tokenIdentifier":"x"}"#]
        {
            let encoded = BASE64_STANDARD.encode(attributes);
            assert_eq!(code(identity(&format!("Convex {key}:{encoded}"))), "InvalidIdentity", "{attributes}");
        }
    }
}
