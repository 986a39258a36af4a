//! OpenTelemetry: events as log records, in the protocol's JSON.

use std::sync::Arc;

use egress::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json, json};

use super::{Told, below};
use crate::{
    configuration::Attribute,
    events::{Event, Origin, Severity},
};

/// Where collectors take logs, below their address.
const PATH: &str = "v1/logs";

pub(super) fn told(
    endpoint: &str,
    headers: &[Attribute],
    service: Option<&str>,
    (origin, events): (&Origin, &[Arc<Event>]),
) -> Told {
    let url = match endpoint.trim_end_matches('/').ends_with(PATH) {
        true => endpoint.to_owned(),
        false => below(endpoint, PATH),
    };
    let mut told = Told::new(url, "application/json", body(service, origin, events));
    for Attribute { key, value } in headers {
        let (name, value) = (HeaderName::try_from(key.as_str()), HeaderValue::try_from(value.as_str()));
        // The configuration was checked.
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            told.headers.insert(name, value);
        }
    }
    told
}

/// An `ExportLogsServiceRequest`.
pub(super) fn body(service: Option<&str>, origin: &Origin, events: &[Arc<Event>]) -> Vec<u8> {
    let records: Vec<Json> = events
        .iter()
        .map(|event| {
            let nanoseconds = u128::from(event.timestamp_ms) * 1_000_000;
            let mut attributes = Vec::new();
            attributes.push(attribute("topic", &json!(event.topic.name())));
            flatten("", &event.fields, &mut attributes);
            json!({
                "timeUnixNano": nanoseconds.to_string(),
                "observedTimeUnixNano": nanoseconds.to_string(),
                "severityNumber": severity_number(event.severity),
                "severityText": event.severity.name().to_uppercase(),
                "body": { "stringValue": event.message() },
                "attributes": attributes,
            })
        })
        .collect();
    let resource = [
        ("service.name", service.unwrap_or(&origin.deployment)),
        ("convex.deployment_name", &origin.deployment),
        ("convex.deployment_type", origin.kind),
        ("convex.project_name", &origin.project),
    ]
    .map(|(name, value)| attribute(name, &json!(value)));
    let body = json!({ "resourceLogs": [{
        "resource": { "attributes": resource },
        "scopeLogs": [{ "scope": { "name": "convex" }, "logRecords": records }],
    }] });
    body.to_string().into_bytes()
}

/// Fields within fields by dotted names.
fn flatten(prefix: &str, fields: &Map<String, Json>, attributes: &mut Vec<Json>) {
    for (name, value) in fields {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Json::Object(fields) => flatten(&name, fields, attributes),
            Json::Null => {}
            value => attributes.push(attribute(&name, value)),
        }
    }
}

fn attribute(name: &str, value: &Json) -> Json {
    let value = match value {
        Json::Bool(value) => json!({ "boolValue": value }),
        Json::Number(number) => match number.as_i64() {
            // The protocol's JSON has 64-bit integers as text.
            Some(integer) => json!({ "intValue": integer.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        Json::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": name, "value": value })
}

/// The first of each range of the data model.
fn severity_number(severity: Severity) -> u32 {
    match severity {
        Severity::Debug => 5,
        Severity::Info => 9,
        Severity::Warn => 13,
        Severity::Error => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{of_execution, tests as samples};

    #[test]
    fn events_are_log_records_with_flat_attributes() {
        let events: Vec<_> =
            of_execution(&samples::failed(), 0, samples::MAX).into_iter().map(Arc::new).collect();
        let headers = [Attribute { key: "x-key".to_owned(), value: "secret".to_owned() }];
        let told = told("http://127.0.0.1:4318", &headers, Some("shop"), (&samples::origin(), &events));
        assert_eq!(told.url, "http://127.0.0.1:4318/v1/logs");
        assert!(told.headers["x-key"].is_sensitive());
        let body: Json = serde_json::from_slice(&told.body).expect("JSON");
        let of_resource = &body["resourceLogs"][0];
        assert_eq!(of_resource["resource"]["attributes"][0]["value"]["stringValue"], json!("shop"));
        let record = &of_resource["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], json!("1700000000499000000"));
        assert_eq!(record["severityNumber"], json!(13));
        assert_eq!(record["body"]["stringValue"], json!("'two' words"));
        let path = json!({"key": "function.path", "value": {"stringValue": "messages:send"}});
        assert!(record["attributes"].as_array().expect("attributes").contains(&path));
    }
}
