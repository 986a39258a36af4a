//! From claims to what functions see.

mod common;

use std::collections::BTreeMap;

use common::*;
use serde_json::{Value, json};

/// The attributes as functions see them.
fn attributes(providers: &auth::Providers, token: &str) -> Value {
    let fixtures = Fixtures::read();
    let verified = verify(providers, fixtures.token(token), &fixtures.keys("all"), NOW_MS);
    let verified = verified.unwrap_or_else(|error| panic!("{token}: {error}"));
    let parsed: BTreeMap<String, Value> = verified
        .identity
        .attributes
        .into_iter()
        .map(|(name, value)| (name, serde_json::from_str(&value).expect("attributes are JSON texts")))
        .collect();
    json!(parsed)
}

#[test]
fn an_oidc_user_has_known_claims_by_their_names_and_others_by_their_own() {
    assert_eq!(
        attributes(&oidc(), "full"),
        json!({
            "tokenIdentifier": "https://issuer.example|user-1",
            "issuer": "https://issuer.example",
            "subject": "user-1",
            "name": "Ada Lovelace",
            "givenName": "Ada",
            "familyName": "Lovelace",
            "nickname": "ada",
            "preferredUsername": "ada1",
            "profileUrl": "https://x.example/ada",
            "pictureUrl": "https://x.example/ada.png",
            "websiteUrl": "https://ada.example",
            "email": "ada@x.example",
            "emailVerified": true,
            "gender": "female",
            "birthday": "1815-12-10",
            "timezone": "Europe/London",
            "language": "en-GB",
            "phoneNumber": "+44 1",
            "phoneNumberVerified": false,
            "address": "1 St James's Square",
            "updatedAt": "2023-11-14T22:13:20+00:00",
            "azp": "https://app.example",
            "org": {"id": "org-1", "roles": ["admin"], "plan": {"seats": 5}},
            "properties.level": 9_007_199_254_740_992_u64,
            "nothing": null,
        })
    );
}

#[test]
fn a_custom_user_has_all_claims_by_their_own_names_and_flat() {
    let issued = ISSUED_MS / 1_000;
    assert_eq!(
        attributes(&custom("RS256"), "full"),
        json!({
            "tokenIdentifier": "https://issuer.example|user-1",
            "issuer": "https://issuer.example",
            "subject": "user-1",
            "iss": "https://issuer.example",
            "sub": "user-1",
            "aud": "app",
            "iat": issued,
            "exp": issued + 3_600,
            "nbf": issued,
            "jti": "token-1",
            "name": "Ada Lovelace",
            "given_name": "Ada",
            "givenName": "Eve",
            "family_name": "Lovelace",
            "nickname": "ada",
            "preferred_username": "ada1",
            "profile": "https://x.example/ada",
            "picture": "https://x.example/ada.png",
            "website": "https://ada.example",
            "email": "ada@x.example",
            "email_verified": true,
            "gender": "female",
            "birthdate": "1815-12-10",
            "zoneinfo": "Europe/London",
            "locale": "en-GB",
            "phone_number": "+44 1",
            "phone_number_verified": false,
            "address.formatted": "1 St James's Square",
            "address.country": "GB",
            "updated_at": 1_700_000_000,
            "azp": "https://app.example",
            "org.id": "org-1",
            "org.roles": ["admin"],
            "org.plan.seats": 5,
            "properties.level": 9_007_199_254_740_992_u64,
            "nothing": null,
        })
    );
}

#[test]
fn known_claims_of_other_types_are_left_out_and_the_usual_ones_are_understood() {
    assert_eq!(
        attributes(&oidc(), "odd"),
        json!({
            "tokenIdentifier": "https://issuer.example|a|b",
            "issuer": "https://issuer.example",
            "subject": "a|b",
            "emailVerified": true,
            "updatedAt": "2026-11-28T09:00:00.500+00:00",
        })
    );
}

#[test]
fn the_issuer_is_named_as_the_token_names_it() {
    for (token, issuer) in
        [("issuerWithSlash", "https://issuer.example/"), ("issuerWithoutScheme", "issuer.example")]
    {
        let attributes = attributes(&oidc(), token);
        assert_eq!(attributes["issuer"], issuer);
        assert_eq!(attributes["tokenIdentifier"], format!("{issuer}|user-1"));
    }
}

#[test]
fn a_token_says_until_when_it_holds() {
    let fixtures = Fixtures::read();
    let until = |providers: &auth::Providers, token: &str| {
        let verified = verify(providers, fixtures.token(token), &fixtures.keys("all"), ISSUED_MS);
        verified.expect("it holds").valid_until_ms - ISSUED_MS
    };
    assert_eq!(until(&oidc(), "rs256"), 3_600_000);
    assert_eq!(until(&oidc(), "fraction"), 10_500);
    // With the five seconds in which it is still taken.
    assert_eq!(until(&custom("RS256"), "rs256"), 3_605_000);
}

#[test]
fn tokens_of_convex_auth_hold() {
    let fixtures = Fixtures::read();
    let providers = providers(json!([{"domain": "http://127.0.0.1:3211", "applicationID": "convex"}]));
    let keys = fixtures.keys("rsaWithoutId");
    let verified = verify(&providers, fixtures.token("convexAuth"), &keys, NOW_MS).expect("it holds");
    assert_eq!(
        verified.identity.attributes["tokenIdentifier"],
        r#""http://127.0.0.1:3211|j57user|k97session""#
    );
}
