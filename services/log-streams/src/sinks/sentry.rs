//! Sentry: exceptions, each in an envelope of its own.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::Told;
use crate::events::{Event, Exception, Frame, Origin};

const CLIENT: &str = concat!("tidemark/", env!("CARGO_PKG_VERSION"));

pub(super) fn told(
    dsn: &str,
    tags: Option<&BTreeMap<String, String>>,
    origin: &Origin,
    events: &[Arc<Event>],
) -> Vec<Told> {
    let Some(receiver) = Receiver::of(dsn) else { return Vec::new() };
    let of_exception = |event: &Arc<Event>| {
        let exception = event.exception.as_ref()?;
        Some(envelope(&receiver, tags, origin, (event.timestamp_ms, exception)))
    };
    events.iter().filter_map(of_exception).collect()
}

/// What a DSN says: `https://key@host/path/project`.
struct Receiver {
    url: String,
    key: String,
}

impl Receiver {
    fn of(dsn: &str) -> Option<Receiver> {
        let url = Url::parse(dsn).ok()?;
        let (path, project) = url.path().rsplit_once('/')?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(Receiver {
            url: format!("{}://{}{port}{path}/api/{project}/envelope/", url.scheme(), url.host_str()?),
            key: url.username().to_owned(),
        })
    }
}

fn envelope(
    receiver: &Receiver,
    tags: Option<&BTreeMap<String, String>>,
    origin: &Origin,
    (timestamp_ms, exception): (u64, &Exception),
) -> Told {
    let id = event_id(exception);
    let mut all_tags: BTreeMap<&str, &str> = BTreeMap::from([
        ("func", exception.function.as_str()),
        ("func_type", exception.function_type),
        ("request_id", exception.request_id.as_str()),
    ]);
    if let Some(runtime) = exception.runtime {
        all_tags.insert("func_runtime", runtime);
    }
    if let Some(component) = &exception.component {
        all_tags.insert("component", component);
    }
    all_tags.extend(tags.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())));
    // The outermost call comes first.
    let frames: Vec<Json> = exception.frames.iter().rev().map(frame).collect();
    let event = json!({
        "event_id": id,
        "timestamp": timestamp_ms as f64 / 1e3,
        "platform": "javascript",
        "level": "error",
        "server_name": origin.deployment,
        "environment": origin.kind,
        "tags": all_tags,
        "exception": { "values": [{
            "type": exception.kind,
            "value": exception.message,
            "stacktrace": { "frames": frames },
        }] },
    });
    let event = event.to_string();
    let head = json!({ "event_id": id });
    let item = json!({ "type": "event", "length": event.len(), "content_type": "application/json" });
    let body = format!("{head}\n{item}\n{event}\n");
    let told = Told::new(receiver.url.clone(), "application/x-sentry-envelope", body.into_bytes());
    let authorization =
        format!("Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={}", receiver.key);
    told.with_secret("x-sentry-auth", &authorization)
}

/// The same for the same run, so that one that is sent again is known again: 32 hexadecimal digits.
fn event_id(exception: &Exception) -> String {
    let digest = Sha256::new()
        .chain_update(&exception.request_id)
        .chain_update("/")
        .chain_update(&exception.execution_id)
        .finalize();
    hex::encode(&digest[..16])
}

fn frame(frame: &Frame) -> Json {
    json!({
        "function": frame.function.as_deref().unwrap_or("<anonymous>"),
        "filename": frame.file,
        "lineno": frame.line,
        "colno": frame.column,
        "in_app": !frame.file.contains("node_modules"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{of_execution, tests as samples};

    #[test]
    fn an_exception_is_an_envelope_for_its_project() {
        let events: Vec<_> =
            of_execution(&samples::failed(), 0, samples::MAX).into_iter().map(Arc::new).collect();
        let tags = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let told = told("http://public@127.0.0.1:9000/base/42", Some(&tags), &samples::origin(), &events);
        let [told] = &told[..] else { panic!("one exception, one envelope") };
        assert_eq!(told.url, "http://127.0.0.1:9000/base/api/42/envelope/");
        assert!(told.headers["x-sentry-auth"].to_str().expect("text").ends_with("sentry_key=public"));
        let body = String::from_utf8(told.body.to_vec()).expect("text");
        let lines: Vec<Json> = body.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let [head, item, event] = &lines[..] else { panic!("three lines: {body}") };
        assert_eq!(head["event_id"], event["event_id"]);
        assert_eq!(item["length"], json!(body.lines().nth(2).expect("the event").len()));
        assert_eq!(event["exception"]["values"][0]["type"], json!("TypeError"));
        let frames = event["exception"]["values"][0]["stacktrace"]["frames"].as_array().expect("frames");
        assert_eq!(frames.last().expect("a frame")["function"], json!("send"));
        assert_eq!(event["tags"]["func_runtime"], json!("default"));
        assert_eq!((&event["tags"]["team"], &event["tags"]["func"]), (&json!("a"), &json!("messages:send")));
    }
}
