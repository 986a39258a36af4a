//! Webhooks: all events as they are, signed.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value as Json;
use sha2::Sha256;

use super::Told;
use crate::{
    configuration::WebhookFormat,
    events::{Event, Origin},
};

/// The header with the body's signature.
const SIGNATURE: &str = "x-webhook-signature";

pub(super) fn told(
    url: &str,
    format: WebhookFormat,
    secret: &str,
    origin: &Origin,
    events: &[Arc<Event>],
) -> Told {
    let events = events.iter().map(|event| Json::Object(event.json(origin)));
    let body = match format {
        WebhookFormat::Json => Json::Array(events.collect()).to_string(),
        WebhookFormat::Jsonl => events.map(|event| format!("{event}\n")).collect(),
    };
    let signature = signature(secret, body.as_bytes());
    Told::new(url.to_owned(), "application/json", body.into_bytes()).with_secret(SIGNATURE, &signature)
}

/// `sha256=` and the HMAC-SHA256 of the body in hexadecimal digits.
fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key's");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{of_execution, tests as samples};

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // RFC 4231, second test case.
        let signature = signature("Jefe", b"what do ya want for nothing?");
        assert_eq!(signature, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn bodies_are_an_array_or_lines() {
        let events: Vec<_> =
            of_execution(&samples::failed(), 0, samples::MAX).into_iter().map(Arc::new).collect();
        let body = |format| {
            let told = told("https://x.example", format, "secret", &samples::origin(), &events);
            String::from_utf8(told.body.to_vec()).expect("it is text")
        };
        let array: Vec<Json> = serde_json::from_str(&body(WebhookFormat::Json)).expect("an array");
        let lines: Vec<Json> =
            body(WebhookFormat::Jsonl).lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!(array, lines);
        assert_eq!(array.len(), 3);
    }
}
