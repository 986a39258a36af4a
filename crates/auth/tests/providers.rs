//! An app's list of providers.

mod common;

use auth::{AuthLimits, Providers};
use common::*;
use serde_json::{Value, json};

fn read(list: &Value) -> Result<Providers, auth::ConfigError> {
    Providers::from_json(list, &AuthLimits::DEFAULT)
}

#[test]
fn providers_come_back_as_they_were_written() {
    let list = json!([
        {"domain": "https://x.example/api/auth/", "applicationID": "convex"},
        {"domain": "x.example", "applicationID": "convex"},
        {"type": "customJwt", "issuer": "https://x.example", "jwks": "https://x.example/keys?v=1", "algorithm": "RS256", "applicationID": "app"},
        {"type": "customJwt", "issuer": "https://x.example", "jwks": "http://127.0.0.1:1/keys", "algorithm": "ES256", "applicationID": null},
        {"type": "customJwt", "issuer": "https://x.example", "jwks": "https://x.example/keys", "algorithm": "EdDSA", "applicationID": null},
    ]);
    let providers = read(&list).expect("they are providers");
    let back: Vec<Value> = providers.iter().map(auth::Provider::to_json).collect();
    assert_eq!(json!(back), list);
    assert_eq!(read(&json!([])).expect("none").iter().count(), 0);
}

#[test]
fn providers_with_one_domain_share_their_keys() {
    let list = json!([
        {"domain": "https://x.example", "applicationID": "one"},
        {"domain": "x.example/", "applicationID": "two"},
        {"domain": "https://y.example", "applicationID": "one"},
    ]);
    let providers = read(&list).expect("they are providers");
    let sources: Vec<_> = providers.iter().map(auth::Provider::key_source).collect();
    assert_eq!(sources[0], sources[1]);
    assert_ne!(sources[0], sources[2]);
}

#[test]
fn lists_that_are_none_are_refused_by_code_and_with_the_place() {
    let fixtures = Fixtures::read();
    let custom = |changes: Value| {
        let mut provider = custom_json("RS256");
        for (name, value) in changes.as_object().expect("changes") {
            provider[name] = value.clone();
        }
        json!([provider])
    };
    let data = |keys: &str| {
        let json = fixtures.key_set_json(keys);
        format!("data:application/json,{}", json.replace('%', "%25").replace('#', "%23"))
    };
    assert!(read(&custom(json!({"jwks": data("all")}))).is_ok());
    let good = json!({"domain": "https://x.example", "applicationID": "a"});
    let rows = [
        (json!({}), "InvalidAuthConfig", "must be an array of objects"),
        (json!(["x"]), "InvalidAuthConfig", "must be an array of objects"),
        (json!([{}]), "InvalidAuthConfig", "provider 1 can't be used: its `domain` is missing"),
        (
            json!([good, {"domain": "https://x.example"}]),
            "InvalidAuthConfig",
            "provider 2 can't be used: its `applicationID` is missing",
        ),
        (json!([{"domain": 1, "applicationID": "a"}]), "InvalidAuthConfig", "its `domain` must be a string"),
        (
            json!([{"domain": "https://x.example", "applicationID": 1}]),
            "InvalidAuthConfig",
            "its `applicationID` must be a string",
        ),
        (
            json!([{"type": "oidc", "domain": "https://x.example", "applicationID": "a"}]),
            "InvalidAuthConfig",
            "its `type` must be \"customJwt\"",
        ),
        (
            json!([good, {"domain": "\"https://x.example\"", "applicationID": "a"}]),
            "InvalidProviderDomainUrl",
            "the domain of provider 2",
        ),
        (
            json!([{"domain": "nothing", "applicationID": "a"}]),
            "InvalidProviderDomainUrl",
            "`nothing` is not a domain",
        ),
        (
            custom(json!({"issuer": "ftp://x.example"})),
            "InvalidProviderDomainUrl",
            "must begin with https:// or http://",
        ),
        (custom(json!({"issuer": null})), "InvalidAuthConfig", "its `issuer` is missing"),
        (custom(json!({"jwks": null})), "InvalidAuthConfig", "its `jwks` is missing"),
        (custom(json!({"jwks": "x.example/keys"})), "InvalidAuthConfig", "its `jwks` must be an address"),
        (
            custom(json!({"jwks": "data:application/json"})),
            "InvalidAuthConfig",
            "its `jwks` is not a `data:` address",
        ),
        (custom(json!({"jwks": "data:,{}"})), "InvalidAuthConfig", "its `jwks` has no array named `keys`"),
        (
            custom(json!({"jwks": data("unusable")})),
            "InvalidAuthConfig",
            "holds no key that can verify a token",
        ),
        (custom(json!({"algorithm": null})), "InvalidAuthConfig", "its `algorithm` is missing"),
        (
            custom(json!({"algorithm": "HS256"})),
            "InvalidAuthConfig",
            "must be RS256, ES256, EdDSA, not `HS256`",
        ),
        (custom(json!({"algorithm": "none"})), "InvalidAuthConfig", "not `none`"),
    ];
    for (list, code, sentence) in rows {
        let error = read(&list).expect_err(&list.to_string());
        assert_eq!(error.code(), code, "{list}: {error}");
        assert!(error.to_string().contains(sentence), "{list}: {error}");
    }
    let limits = AuthLimits { providers_max: 1, ..AuthLimits::DEFAULT };
    let error = Providers::from_json(&json!([good, good]), &limits).expect_err("too many");
    assert_eq!(error.to_string(), "it has 2 providers, more than the 1 that are allowed");
}
