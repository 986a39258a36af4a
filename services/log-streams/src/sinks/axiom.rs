//! Axiom: events with their time where its data sets have it.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Told, below, time};
use crate::{
    configuration::Attribute,
    events::{Event, Origin},
};

const HOST: &str = "https://api.axiom.co";

pub(super) fn told(
    api_key: &str,
    dataset: &str,
    attributes: &[Attribute],
    ingest_url: Option<&str>,
    (origin, events): (&Origin, &[Arc<Event>]),
) -> Told {
    let events = events.iter().map(|event| {
        let mut json = event.json(origin);
        json.insert("_time".to_owned(), json!(time(event.timestamp_ms)));
        for Attribute { key, value } in attributes {
            json.insert(key.clone(), json!(value));
        }
        Json::Object(json)
    });
    let body = Json::Array(events.collect()).to_string();
    let url = match ingest_url {
        // An edge has one path for all data sets.
        Some(ingest_url) => below(ingest_url, &format!("v1/ingest/{dataset}")),
        None => below(HOST, &format!("v1/datasets/{dataset}/ingest")),
    };
    let told = Told::new(url, "application/json", body.into_bytes());
    told.with_secret("authorization", &format!("Bearer {api_key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests as samples;

    #[test]
    fn events_have_their_time_and_the_attributes() {
        let events = [Arc::new(Event::verification(1_700_000_000_123))];
        let attributes = [Attribute { key: "region".to_owned(), value: "here".to_owned() }];
        let told = told("key", "logs", &attributes, None, (&samples::origin(), &events));
        assert_eq!(told.url, "https://api.axiom.co/v1/datasets/logs/ingest");
        let body: Json = serde_json::from_slice(&told.body).expect("JSON");
        assert_eq!(body[0]["_time"], json!("2023-11-14T22:13:20.123Z"));
        assert_eq!(body[0]["region"], json!("here"));
        assert_eq!(body[0]["topic"], json!("verification"));
        assert!(told.headers["authorization"].is_sensitive());
    }
}
