//! Datadog: events as its logs.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::Told;
use crate::{
    configuration::DatadogSite,
    events::{Event, Origin},
};

pub(super) fn told(
    api_key: &str,
    tags: &[String],
    site: DatadogSite,
    service: Option<&str>,
    (origin, events): (&Origin, &[Arc<Event>]),
) -> Told {
    let events = events.iter().map(|event| {
        let mut json = event.json(origin);
        // What Datadog itself reads; a console line has its own words in `message`.
        json.insert("ddsource".to_owned(), json!("convex"));
        json.insert("ddtags".to_owned(), json!(tags.join(",")));
        json.insert("hostname".to_owned(), json!(origin.deployment));
        json.insert("service".to_owned(), json!(service.unwrap_or(&origin.project)));
        json.insert("message".to_owned(), json!(event.message()));
        if let Some(outcome) = json.insert("status".to_owned(), json!(event.severity.name())) {
            json.insert("outcome".to_owned(), outcome);
        }
        Json::Object(json)
    });
    let body = Json::Array(events.collect()).to_string();
    let url = format!("https://http-intake.logs.{}/api/v2/logs", site.host());
    Told::new(url, "application/json", body.into_bytes()).with_secret("dd-api-key", api_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{of_execution, tests as samples};

    #[test]
    fn events_are_logs_with_source_tags_and_severity() {
        let events: Vec<_> =
            of_execution(&samples::failed(), 0, samples::MAX).into_iter().map(Arc::new).collect();
        let tags = ["env:test".to_owned(), "a:b".to_owned()];
        let told = told("key", &tags, DatadogSite::US3, None, (&samples::origin(), &events));
        assert_eq!(told.url, "https://http-intake.logs.us3.datadoghq.com/api/v2/logs");
        assert_eq!(told.headers["dd-api-key"], "key");
        let body: Json = serde_json::from_slice(&told.body).expect("JSON");
        assert_eq!(body[0]["ddtags"], json!("env:test,a:b"));
        assert_eq!(body[0]["message"], json!("'two' words"));
        assert_eq!(body[0]["status"], json!("warn"));
        assert_eq!((&body[1]["status"], &body[1]["outcome"]), (&json!("error"), &json!("failure")));
        assert_eq!(body[1]["service"], json!("shop"));
    }
}
