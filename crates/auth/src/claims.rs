//! What functions see of a user.

use std::collections::BTreeMap;

use chrono::DateTime;
use contract::UserIdentity;
use serde_json::{Map, Value};

/// A user whose token holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it is.
    pub identity: UserIdentity,
    /// From then on the token does not hold any more: milliseconds since the Unix epoch.
    pub valid_until_ms: u64,
}

/// The claims of OpenID Connect (Core 1.0, 5.1) that are strings, and the attributes' names.
const STRINGS: [(&str, &str); 14] = [
    ("name", "name"),
    ("given_name", "givenName"),
    ("family_name", "familyName"),
    ("nickname", "nickname"),
    ("preferred_username", "preferredUsername"),
    ("profile", "profileUrl"),
    ("picture", "pictureUrl"),
    ("website", "websiteUrl"),
    ("email", "email"),
    ("gender", "gender"),
    ("birthdate", "birthday"),
    ("zoneinfo", "timezone"),
    ("locale", "language"),
    ("phone_number", "phoneNumber"),
];

/// Those that are true or false.
const BOOLEANS: [(&str, &str); 2] =
    [("email_verified", "emailVerified"), ("phone_number_verified", "phoneNumberVerified")];

/// Claims about the token, not about its user: they are in the identity by another name, or differ with each token.
const OF_THE_TOKEN: [&str; 8] = ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "fva"];

/// The attributes of an OIDC provider's user: known claims by the names that functions know, all others by their own.
/// Known claims of another type than the standard's are left out.
pub(crate) fn of_oidc(issuer: &str, subject: &str, claims: &Map<String, Value>) -> UserIdentity {
    let mut attributes = who(issuer, subject);
    let mut others = Vec::new();
    for (claim, value) in claims {
        match known(claim, value) {
            Some((name, Some(value))) => insert(&mut attributes, name, &value),
            Some((_, None)) => {}
            None if OF_THE_TOKEN.contains(&claim.as_str()) => {}
            None => others.push((claim, value)),
        }
    }
    // Last, so that a claim named `givenName` does not pass for `given_name`.
    for (claim, value) in others {
        insert(&mut attributes, claim, value);
    }
    UserIdentity { attributes }
}

/// The attributes of a custom issuer's user: all claims by their own names, those within objects by their paths (`a.b`).
pub(crate) fn of_custom(issuer: &str, subject: &str, claims: &Map<String, Value>) -> UserIdentity {
    let mut attributes = who(issuer, subject);
    for (claim, value) in claims.iter().filter(|(claim, _)| *claim != "fva") {
        insert_flat(&mut attributes, claim, value);
    }
    UserIdentity { attributes }
}

fn who(issuer: &str, subject: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    let token_identifier = format!("{issuer}|{subject}");
    for (name, text) in
        [("tokenIdentifier", token_identifier.as_str()), ("issuer", issuer), ("subject", subject)]
    {
        insert(&mut attributes, name, &Value::from(text));
    }
    attributes
}

/// What is there stays: no claim takes the place of who the user is.
fn insert(attributes: &mut BTreeMap<String, String>, name: &str, value: &Value) {
    attributes.entry(name.to_owned()).or_insert_with(|| value.to_string());
}

/// The reader of JSON has bounded the depth.
fn insert_flat(attributes: &mut BTreeMap<String, String>, name: &str, value: &Value) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (member, value) in members {
                insert_flat(attributes, &format!("{name}.{member}"), value);
            }
        }
        _ => insert(attributes, name, value),
    }
}

/// The name and the value of a claim that the standard knows; no value if it is of another type.
fn known(claim: &str, value: &Value) -> Option<(&'static str, Option<Value>)> {
    let name_in =
        |list: &[(&str, &'static str)]| list.iter().find(|(known, _)| *known == claim).map(|(_, name)| *name);
    if let Some(name) = name_in(&STRINGS) {
        return Some((name, value.is_string().then(|| value.clone())));
    }
    if let Some(name) = name_in(&BOOLEANS) {
        // Some providers write them as strings.
        let value = value.as_bool().or_else(|| value.as_str()?.parse().ok());
        return Some((name, value.map(Value::from)));
    }
    match claim {
        "address" => {
            let formatted = value.get("formatted").filter(|formatted| formatted.is_string());
            Some(("address", formatted.cloned()))
        }
        "updated_at" => Some(("updatedAt", updated_at(value).map(Value::from))),
        _ => None,
    }
}

/// A moment as RFC 3339 writes it: the standard has seconds, some providers such a text.
fn updated_at(value: &Value) -> Option<String> {
    let moment = match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok()?.to_utc(),
        // A conversion stops at the ends.
        _ => DateTime::from_timestamp_millis((value.as_f64()? * 1_000.0) as i64)?,
    };
    Some(moment.to_rfc3339())
}
