//! A token, taken apart.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{AuthError, AuthLimits};

/// A JSON web token in its compact form, of which nothing is verified.
pub struct Token<'t> {
    /// As the header has it: any text.
    pub(crate) algorithm: String,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
    /// Header and payload as they are signed.
    pub(crate) signed: &'t str,
    pub(crate) signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// What is too large, or is not three parts of which the first two are JSON objects, with an `alg` and an `iss`.
    pub fn parse(text: &'t str, limits: &AuthLimits) -> Result<Token<'t>, AuthError> {
        if text.len() > limits.token_bytes_max {
            return Err(AuthError::TooLarge { bytes: text.len(), bytes_max: limits.token_bytes_max });
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(not_decoded(match parts.len() {
                5 => "it is encrypted, and must only be signed",
                _ => "it has not the three parts of a signed JSON web token",
            }));
        };
        let header = object(header, "its header is not a JSON object in base64url")?;
        let claims = object(payload, "its payload is not a JSON object in base64url")?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature);
        let signature = signature.map_err(|_| not_decoded("its signature is not base64url"))?;
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.ok_or_else(|| not_decoded("its header has no `alg`"))?.to_owned();
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(not_decoded("its header's `kid` is not a string")),
        };
        // What a header calls critical must be understood, and nothing of the kind is.
        if header.contains_key("crit") {
            return Err(not_decoded("its header has `crit`, which is not supported"));
        }
        let token =
            Token { algorithm, key_id, claims, signed: &text[..header_and_payload(&parts)], signature };
        if token.claim("iss").is_none() {
            return Err(not_decoded("its claim `iss` must be a string"));
        }
        if token.audiences().is_none() {
            return Err(not_decoded("its claim `aud` must be a string or an array of strings"));
        }
        Ok(token)
    }

    /// A claim that is a string.
    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// Who the token says has issued it.
    pub fn issuer(&self) -> &str {
        self.claim("iss").unwrap_or_default()
    }

    /// For whom it says it is; none if it says nothing, `None` if it says it in no known form.
    pub(crate) fn audiences(&self) -> Option<Vec<&str>> {
        match self.claims.get("aud") {
            None => Some(Vec::new()),
            Some(Value::String(audience)) => Some(vec![audience]),
            Some(Value::Array(audiences)) => audiences.iter().map(Value::as_str).collect(),
            Some(_) => None,
        }
    }
}

/// A token is worth what its user may do: it is never shown.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").finish_non_exhaustive()
    }
}

fn header_and_payload(parts: &[&str]) -> usize {
    parts[0].len() + 1 + parts[1].len()
}

fn object(encoded: &str, otherwise: &str) -> Result<Map<String, Value>, AuthError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| not_decoded(otherwise))
}

fn not_decoded(reason: &str) -> AuthError {
    AuthError::NotDecoded { reason: reason.to_owned() }
}
