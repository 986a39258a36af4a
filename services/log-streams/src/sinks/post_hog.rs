//! PostHog: logs as OpenTelemetry has them, and exceptions as events of its own.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Told, below, otlp, time};
use crate::events::{Event, Frame, Origin};

const HOST: &str = "https://us.i.posthog.com";

pub(super) fn logs(
    api_key: &str,
    host: Option<&str>,
    service: Option<&str>,
    (origin, events): (&Origin, &[Arc<Event>]),
) -> Told {
    let body = otlp::body(service, origin, events);
    let told = Told::new(below(host.unwrap_or(HOST), "i/v1/logs"), "application/json", body);
    told.with_secret("authorization", &format!("Bearer {api_key}"))
}

/// `None` if there is none among the events.
pub(super) fn exceptions(
    api_key: &str,
    host: Option<&str>,
    origin: &Origin,
    events: &[Arc<Event>],
) -> Option<Told> {
    let batch: Vec<Json> = events
        .iter()
        .filter_map(|event| {
            let exception = event.exception.as_ref()?;
            let frames: Vec<Json> = exception.frames.iter().rev().map(frame).collect();
            Some(json!({
                "event": "$exception",
                "distinct_id": origin.deployment,
                "timestamp": time(event.timestamp_ms),
                "properties": {
                    "$process_person_profile": false,
                    "$exception_level": "error",
                    "$exception_list": [{
                        "type": exception.kind,
                        "value": exception.message,
                        "mechanism": { "handled": false, "synthetic": false },
                        "stacktrace": { "type": "raw", "frames": frames },
                    }],
                    "function": exception.function,
                    "function_type": exception.function_type,
                    "request_id": exception.request_id,
                    "convex": origin.json(),
                },
            }))
        })
        .collect();
    if batch.is_empty() {
        return None;
    }
    let body = json!({ "api_key": api_key, "batch": batch }).to_string();
    Some(Told::new(below(host.unwrap_or(HOST), "batch/"), "application/json", body.into_bytes()))
}

fn frame(frame: &Frame) -> Json {
    json!({
        "platform": "node:javascript",
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
    fn only_exceptions_are_told_as_exceptions() {
        let events: Vec<_> =
            of_execution(&samples::failed(), 0, samples::MAX).into_iter().map(Arc::new).collect();
        let told = exceptions("key", Some("http://127.0.0.1:1/"), &samples::origin(), &events).expect("one");
        assert_eq!(told.url, "http://127.0.0.1:1/batch/");
        let body: Json = serde_json::from_slice(&told.body).expect("JSON");
        assert_eq!(body["batch"].as_array().map(Vec::len), Some(1));
        assert_eq!(body["batch"][0]["properties"]["$exception_list"][0]["value"], json!("no body"));
        // A number is refused with all that comes with it.
        assert_eq!(body["batch"][0]["timestamp"], json!("2023-11-14T22:13:20.500Z"));
        assert!(exceptions("key", None, &samples::origin(), &events[..2]).is_none());
    }
}
