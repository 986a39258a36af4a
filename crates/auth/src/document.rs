//! Discovery documents, and `data:` addresses.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use crate::{AuthLimits, error::shown, issuer};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A document of a provider.
///
/// # Errors
/// A clause about what is no JSON, or too large.
pub(crate) fn parse(json: &[u8], limits: &AuthLimits) -> Result<Value, String> {
    if json.len() > limits.document_bytes_max {
        return Err(format!("has {} bytes, more than {}", json.len(), limits.document_bytes_max));
    }
    serde_json::from_slice(json).map_err(|_| "is not JSON".to_owned())
}

/// Where an OIDC provider's discovery document is (OpenID Connect Discovery 1.0, 4).
pub(crate) fn discovery_url(domain: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer::normalized(domain))
}

/// The address of the key set that a discovery document names.
///
/// # Errors
/// A clause about what is no discovery document, or that of another issuer.
pub(crate) fn key_set_url(json: &[u8], domain: &str, limits: &AuthLimits) -> Result<String, String> {
    let json = parse(json, limits)?;
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let issuer = text("issuer").ok_or("has no `issuer`")?;
    if issuer::normalized(issuer) != issuer::normalized(domain) {
        return Err(format!("says that its issuer is `{}`, which is not `{domain}`", shown(issuer)));
    }
    let url = text("jwks_uri").ok_or("has no `jwks_uri`")?;
    if !is_web_address(url) {
        return Err("has a `jwks_uri` that is not an address with https:// or http://".to_owned());
    }
    Ok(url.to_owned())
}

pub(crate) fn is_web_address(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// The contents of a `data:` address (RFC 2397), of any media type; `None` if it is none, or its base64 is not right.
pub(crate) fn of_data_url(url: &str) -> Option<Vec<u8>> {
    const SCHEME: &str = "data:";
    let (scheme, rest) = (url.get(..SCHEME.len())?, &url[SCHEME.len()..]);
    let (media_type, data) = rest.split_once(',').filter(|_| scheme.eq_ignore_ascii_case(SCHEME))?;
    let data: Vec<u8> = percent_decode_str(data).collect();
    let extension = media_type.rsplit_once(';').map(|(_, last)| last.trim());
    if !extension.is_some_and(|extension| extension.eq_ignore_ascii_case("base64")) {
        return Some(data);
    }
    let data: Vec<u8> = data.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_addresses_of_any_type_are_read() {
        for (url, contents) in [
            ("data:,{}", "{}"),
            ("data:application/json,%7B%22keys%22%3A%5B%5D%7D", r#"{"keys":[]}"#),
            ("data:text/plain;charset=utf-8;base64,eyJrZXlzIjpbXX0=", r#"{"keys":[]}"#),
            ("DATA:text/plain;Base64,eyJrZXlzIjpbXX0", r#"{"keys":[]}"#),
            ("data:;base64,eyJr%0AZXlzIjpb%20XX0%3D", r#"{"keys":[]}"#),
            ("data:base64,e30=", "e30="),
        ] {
            let found = of_data_url(url).and_then(|bytes| String::from_utf8(bytes).ok());
            assert_eq!(found.as_deref(), Some(contents), "{url}");
        }
        for url in ["data:application/json", "https://x.example/,", "data", "dätä:,{}", "data:;base64,{}", ""]
        {
            assert_eq!(of_data_url(url), None, "{url}");
        }
    }

    #[test]
    fn a_discovery_document_is_of_its_issuer_and_names_a_key_set() {
        let read = |json: &str| key_set_url(json.as_bytes(), "x.example/auth", &AuthLimits::DEFAULT);
        let keys = "https://y.example/keys";
        for issuer in ["https://x.example/auth", "https://x.example/auth/", "x.example/auth"] {
            let json = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}","more":1}}"#);
            assert_eq!(read(&json).as_deref(), Ok(keys), "{issuer}");
        }
        for (json, why) in [
            ("<html>", "is not JSON"),
            ("[]", "has no `issuer`"),
            (r#"{"issuer":1}"#, "has no `issuer`"),
            (r#"{"issuer":"https://x.example","jwks_uri":"https://y"}"#, "its issuer is `https://x.example`"),
            (r#"{"issuer":"https://x.example/auth"}"#, "has no `jwks_uri`"),
            (r#"{"issuer":"https://x.example/auth","jwks_uri":"file:///etc/passwd"}"#, "not an address"),
            (r#"{"issuer":"https://x.example/auth","jwks_uri":"/keys"}"#, "not an address"),
        ] {
            let reason = read(json).expect_err(json);
            assert!(reason.contains(why), "{json}: {reason}");
        }
        let limits = AuthLimits { document_bytes_max: 10, ..AuthLimits::DEFAULT };
        let reason = key_set_url(br#"{"issuer":1}"#, "x.example", &limits).expect_err("too large");
        assert!(reason.contains("has 12 bytes, more than 10"), "{reason}");
    }
}
