//! Which tokens hold, and what is said of those that don't.

mod common;

use auth::{AuthError, AuthLimits, KeySet, Token};
use common::*;
use contract::ErrorKind;
use serde_json::{Value, json};

#[test]
fn tokens_of_each_algorithm_hold() {
    let fixtures = Fixtures::read();
    let keys = fixtures.keys("all");
    for (token, algorithm) in [("rs256", "RS256"), ("es256", "ES256"), ("eddsa", "EdDSA")] {
        for providers in [oidc(), custom(algorithm)] {
            let verified = verify(&providers, fixtures.token(token), &keys, NOW_MS);
            let verified = verified.unwrap_or_else(|error| panic!("{token}: {error}"));
            assert_eq!(verified.identity.attributes["tokenIdentifier"], r#""https://issuer.example|user-1""#);
        }
    }
}

#[test]
fn what_need_not_be_there_need_not_be_there() {
    let fixtures = Fixtures::read();
    for (token, keys) in [
        ("withType", "all"),
        ("withoutIssueTime", "all"),
        ("audienceInArray", "all"),
        ("issuerWithSlash", "all"),
        ("issuerWithoutScheme", "all"),
        // The client that acts for the user is named by some providers as its address; the audience decides.
        ("withParty", "all"),
        // The only key that is of the token's kind.
        ("ecWithoutKeyId", "all"),
        ("withoutKeyId", "rsaWithoutId"),
        ("rs256", "rsaWithoutId"),
        ("withoutKeyId", "oneOfEachWithoutId"),
        ("es256", "oneOfEachWithoutId"),
        ("rs256", "sameIdOfTwoKinds"),
        ("es256", "padded"),
    ] {
        let algorithm = if token.starts_with('e') { "ES256" } else { "RS256" };
        for providers in [oidc(), custom(algorithm)] {
            let verified = verify(&providers, fixtures.token(token), &fixtures.keys(keys), NOW_MS);
            assert!(verified.is_ok(), "{token} with {keys}: {verified:?}");
        }
    }
}

#[test]
fn a_token_that_names_no_key_is_of_the_one_without_a_name() {
    let fixtures = Fixtures::read();
    let sets = ["other", "rsaWithoutId"].map(|set| {
        let set: Value = serde_json::from_str(&fixtures.key_set_json(set)).expect("it is JSON");
        set["keys"].as_array().expect("a list").clone()
    });
    let both = json!({ "keys": sets.concat() }).to_string();
    let both = KeySet::parse(both.as_bytes(), &AuthLimits::DEFAULT).expect("it is a key set");
    for providers in [oidc(), custom("RS256")] {
        let verified = verify(&providers, fixtures.token("withoutKeyId"), &both, NOW_MS);
        assert!(verified.is_ok(), "{verified:?}");
    }
}

const UNAUTHENTICATED: &str = "Unauthenticated";
const NO_PROVIDER: &str = "NoAuthProvider";
const INVALID: &str = "InvalidAuthHeader";

/// A token, a set of keys, how long after its issue it comes (milliseconds), the code with an OIDC provider and with a custom
/// one of RS256 (none: it holds), and a part of the sentence.
type Row = (&'static str, &'static str, i64, Option<&'static str>, Option<&'static str>, &'static str);

#[rustfmt::skip]
const REFUSALS: &[Row] = &[
    // Of other issuers and for others.
    ("wrongIssuer", "all", 0, Some(NO_PROVIDER), Some(NO_PROVIDER), "issued by `https://other.example` for `app`"),
    ("wrongAudience", "all", 0, Some(NO_PROVIDER), Some(NO_PROVIDER), "for `another app`. Configured are: "),
    ("withoutAudience", "all", 0, Some(NO_PROVIDER), Some(NO_PROVIDER), "for nobody in particular"),
    ("severalAudiences", "all", 0, Some(UNAUTHENTICATED), None, "it is for 2 audiences, and must be for one"),
    // Times. An OIDC provider's token ends to the millisecond, a custom issuer's clock may be wrong by five seconds.
    ("rs256", "all", 3_599_999, None, None, ""),
    ("rs256", "all", 3_600_000, Some(UNAUTHENTICATED), None, "it has expired 0 seconds ago"),
    ("rs256", "all", 3_604_999, Some(UNAUTHENTICATED), None, "it has expired 4 seconds ago"),
    ("rs256", "all", 3_605_000, Some(UNAUTHENTICATED), Some(INVALID), "it has expired 5 seconds ago"),
    ("fraction", "all", 10_499, None, None, ""),
    ("fraction", "all", 10_500, Some(UNAUTHENTICATED), None, "it has expired 0 seconds ago"),
    ("fraction", "all", 15_500, Some(UNAUTHENTICATED), Some(INVALID), "it has expired 5 seconds ago"),
    ("notBefore", "all", 94_999, Some(UNAUTHENTICATED), Some(INVALID), "its `nbf` is 5 seconds in the future"),
    ("notBefore", "all", 95_000, None, None, ""),
    ("issuedLater", "all", 0, None, Some(INVALID), "its `iat` is 100 seconds in the future: is the clock of the issuer"),
    ("issuedLater", "all", 95_000, None, None, ""),
    ("withoutExpiry", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its claim `exp` must be a number of seconds"),
    ("expiryIsText", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its claim `exp` must be a number of seconds"),
    // Subjects.
    ("withoutSubject", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its claim `sub` must be a string"),
    ("subjectIsNumber", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its claim `sub` must be a string"),
    // Keys.
    ("unknownKeyId", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "has no key with the id `rsa-3` for RS256"),
    ("rs256", "other", 0, Some(UNAUTHENTICATED), Some(INVALID), "has no key with the id `rsa-1` for RS256"),
    ("rs256", "unusable", 0, Some(UNAUTHENTICATED), Some(INVALID), "has no key with the id `rsa-1` for RS256"),
    ("withoutKeyId", "unusable", 0, Some(UNAUTHENTICATED), Some(INVALID), "has no key for RS256"),
    ("withoutKeyId", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "2 keys of the provider could be its key"),
    ("withoutKeyId", "twoWithoutId", 0, Some(UNAUTHENTICATED), Some(INVALID), "2 keys of the provider could be its key"),
    ("rs256", "twoWithoutId", 0, Some(UNAUTHENTICATED), Some(INVALID), "2 keys of the provider could be its key"),
    ("rs256", "sameIdTwice", 0, Some(UNAUTHENTICATED), Some(INVALID), "2 keys of the provider could be its key"),
    ("withoutKeyId", "other", 0, Some(UNAUTHENTICATED), Some(INVALID), "its signature is not right"),
    ("keyIdOfAnother", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its signature is not right"),
    ("keyIdOfAnotherKind", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), ""),
    ("ownKeyInHeader", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its signature is not right"),
    // Algorithms: not signed, signed with the public key as if it were a secret, and signed in ways that the key has not.
    ("unsignedNone", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its algorithm `None` is not allowed"),
    ("unsigned", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its algorithm `none` is not allowed for this provider"),
    ("withoutSignature", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its signature is not right"),
    ("hmacWithPublicKey", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its algorithm `HS256` is not allowed"),
    ("rs512", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its algorithm `RS512` is not allowed"),
    ("ps256", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its algorithm `PS256` is not allowed"),
    ("es384", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its algorithm `ES384` is not allowed"),
    ("sha512AsRs256", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "its signature is not right"),
    ("rsaAsEc", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), ""),
    ("ecAsRsa", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), "has no key with the id `ec-1` for RS256"),
    ("ecInDer", "all", 0, Some(UNAUTHENTICATED), Some(INVALID), ""),
    // An algorithm that the provider has a key for, and is not configured.
    ("es256", "all", 0, None, Some(INVALID), "its algorithm `ES256` is not allowed for this provider, which uses RS256"),
    // Forms.
    ("withoutIssuer", "all", 0, Some(INVALID), Some(INVALID), "its claim `iss` must be a string"),
    ("audienceIsNumber", "all", 0, Some(INVALID), Some(INVALID), "its claim `aud` must be a string or an array"),
    ("keyIdIsNumber", "all", 0, Some(INVALID), Some(INVALID), "its header's `kid` is not a string"),
    ("withoutAlgorithm", "all", 0, Some(INVALID), Some(INVALID), "its header has no `alg`"),
    ("critical", "all", 0, Some(INVALID), Some(INVALID), "its header has `crit`"),
    ("payloadIsArray", "all", 0, Some(INVALID), Some(INVALID), "its payload is not a JSON object"),
    ("encrypted", "all", 0, Some(INVALID), Some(INVALID), "it is encrypted, and must only be signed"),
];

#[test]
fn tokens_are_refused_by_code_and_with_the_reason() {
    let fixtures = Fixtures::read();
    let mut wrong = Vec::new();
    for (name, keys, after_ms, of_oidc, of_custom, sentence) in REFUSALS {
        let (token, keys) = (fixtures.token(name), fixtures.keys(keys));
        for (providers, expected) in [(oidc(), of_oidc), (custom("RS256"), of_custom)] {
            let now_ms = ISSUED_MS.saturating_add_signed(*after_ms);
            let found = verify(&providers, token, &keys, now_ms).err();
            let is_expected = found.as_ref().map(AuthError::code) == *expected
                && found.as_ref().is_none_or(|error| error.to_string().contains(sentence))
                && found.as_ref().is_none_or(|error| error.kind() == ErrorKind::Unauthenticated);
            if !is_expected {
                wrong.push(format!("{name} after {after_ms} ms: {found:?}, not {expected:?} ({sentence})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn texts_that_are_no_tokens_are_refused() {
    for text in
        ["", ".", "..", "...", "a.b", "a.b.c", "e30.e30", "e30.e30.e30", "bm8.e30.", "e30.bm8.", "e30..e30"]
    {
        let error = Token::parse(text, &AuthLimits::DEFAULT).expect_err(text);
        assert_eq!(error.code(), "InvalidAuthHeader", "{text}");
    }
    // One that holds, with something around it.
    let fixtures = Fixtures::read();
    let token = fixtures.token("rs256");
    let padded = format!("{token}=");
    let standard = token.replace('-', "+").replace('_', "/");
    for text in [padded, standard, format!(" {token}"), format!("{token}."), format!("{token}\n")] {
        assert!(Token::parse(&text, &AuthLimits::DEFAULT).is_err(), "{text}");
    }
}

#[test]
fn a_token_has_a_largest_size() {
    let fixtures = Fixtures::read();
    let token = fixtures.token("rs256");
    let limits = AuthLimits { token_bytes_max: token.len(), ..AuthLimits::DEFAULT };
    assert!(Token::parse(token, &limits).is_ok());
    let limits = AuthLimits { token_bytes_max: token.len() - 1, ..AuthLimits::DEFAULT };
    let error = Token::parse(token, &limits).expect_err("too large");
    assert_eq!(error.code(), "InvalidAuthHeader");
    let bytes = token.len();
    assert_eq!(
        error.to_string(),
        format!("The token has {bytes} bytes, more than the {} that are allowed.", bytes - 1)
    );
}

#[test]
fn the_first_provider_that_matches_decides() {
    let fixtures = Fixtures::read();
    let (token, keys) = (fixtures.token("es256"), fixtures.keys("all"));
    let of = |audience: Value, algorithm: &str| {
        let mut provider = custom_json(algorithm);
        provider["applicationID"] = audience;
        provider
    };
    let holds = |list: Value| verify(&providers(list), token, &keys, NOW_MS).is_ok();
    assert!(holds(json!([of(json!("app"), "ES256"), of(json!("app"), "RS256")])));
    assert!(!holds(json!([of(json!("app"), "RS256"), of(json!("app"), "ES256")])));
    assert!(holds(json!([of(json!("another"), "RS256"), of(json!("app"), "ES256")])));
    // Without an application id any audience is right, and none.
    assert!(holds(json!([of(json!("another"), "RS256"), of(json!(null), "ES256")])));
    let any = providers(json!([of(json!(null), "RS256")]));
    assert!(verify(&any, fixtures.token("withoutAudience"), &keys, NOW_MS).is_ok());
    assert!(verify(&any, fixtures.token("severalAudiences"), &keys, NOW_MS).is_ok());
}

#[test]
fn without_providers_it_is_said_where_they_are_configured() {
    let fixtures = Fixtures::read();
    let error = verify(&providers(json!([])), fixtures.token("rs256"), &fixtures.keys("all"), NOW_MS);
    let error = contract::Error::from(error.expect_err("nobody vouches for it"));
    assert_eq!((error.kind, error.code.as_ref()), (ErrorKind::Unauthenticated, "NoAuthProvider"));
    assert!(error.message.ends_with("no auth providers configured: `auth.config.ts` names them."), "{error}");
}

#[test]
fn only_keys_that_can_verify_are_kept() {
    let fixtures = Fixtures::read();
    assert_eq!(fixtures.keys("all").len(), 4);
    assert!(fixtures.keys("unusable").is_empty());
    let read =
        |json: &str, limits: &AuthLimits| KeySet::parse(json.as_bytes(), limits).map(|keys| keys.len());
    let limits = AuthLimits { keys_max: 3, document_bytes_max: 10_000, ..AuthLimits::DEFAULT };
    assert_eq!(read(&fixtures.key_set_json("all"), &limits), Err("has 4 keys, more than 3".to_owned()));
    assert_eq!(read(&" ".repeat(10_001), &limits), Err("has 10001 bytes, more than 10000".to_owned()));
    assert_eq!(read("<html>", &limits), Err("is not JSON".to_owned()));
    assert_eq!(read("{}", &limits), Err("has no array named `keys`".to_owned()));
    assert_eq!(read(r#"{"keys":[]}"#, &limits), Ok(0));
}

#[test]
fn errors_and_debug_show_nothing_of_a_token_but_its_issuer_audience_and_key() {
    let fixtures = Fixtures::read();
    let keys = fixtures.keys("all");
    for (name, ..) in REFUSALS {
        let text = fixtures.token(name);
        let parts: Vec<&str> = text.split('.').filter(|part| part.len() > 10).collect();
        let mut shown = match verify(&oidc(), text, &keys, NOW_MS) {
            Ok(verified) => format!("{:?}", verified.valid_until_ms),
            Err(error) => format!("{error} {error:?}"),
        };
        if let Ok(token) = Token::parse(text, &AuthLimits::DEFAULT) {
            shown += &format!("{token:?}");
        }
        for secret in parts.into_iter().chain(["user-1"]) {
            assert!(!shown.contains(secret), "{name}: {shown}");
        }
    }
}
