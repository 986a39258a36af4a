//! What a log stream is: where events go, which, and in which form.

use std::collections::BTreeMap;

use contract::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use url::Url;

use crate::events::Topic;

/// As the deployment API spells it. It holds secrets, so that it is never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "logStreamType", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Configuration {
    Webhook {
        url: String,
        format: WebhookFormat,
        #[serde(default)]
        topics: Option<Vec<Topic>>,
    },
    Axiom {
        api_key: String,
        dataset_name: String,
        #[serde(default)]
        attributes: Vec<Attribute>,
        #[serde(default)]
        ingest_url: Option<String>,
        #[serde(default)]
        topics: Option<Vec<Topic>>,
    },
    Datadog {
        dd_api_key: String,
        #[serde(default)]
        dd_tags: Vec<String>,
        site_location: DatadogSite,
        #[serde(default)]
        service: Option<String>,
        #[serde(default)]
        topics: Option<Vec<Topic>>,
    },
    Sentry {
        dsn: String,
        #[serde(default)]
        tags: Option<BTreeMap<String, String>>,
    },
    PostHogLogs {
        api_key: String,
        #[serde(default)]
        host: Option<String>,
        #[serde(default)]
        service_name: Option<String>,
        #[serde(default)]
        topics: Option<Vec<Topic>>,
    },
    PostHogErrorTracking {
        api_key: String,
        #[serde(default)]
        host: Option<String>,
    },
    /// Any collector of OpenTelemetry's.
    Otlp {
        endpoint: String,
        #[serde(default)]
        headers: Vec<Attribute>,
        #[serde(default)]
        service_name: Option<String>,
        #[serde(default)]
        topics: Option<Vec<Topic>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WebhookFormat {
    Json,
    Jsonl,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attribute {
    pub key: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DatadogSite {
    US1,
    US3,
    US5,
    EU,
    #[serde(rename = "US1_FED")]
    Us1Fed,
    AP1,
}

impl DatadogSite {
    pub fn host(self) -> &'static str {
        match self {
            DatadogSite::US1 => "datadoghq.com",
            DatadogSite::US3 => "us3.datadoghq.com",
            DatadogSite::US5 => "us5.datadoghq.com",
            DatadogSite::EU => "datadoghq.eu",
            DatadogSite::Us1Fed => "ddog-gov.com",
            DatadogSite::AP1 => "ap1.datadoghq.com",
        }
    }
}

/// Everything that is sealed of a stream.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub configuration: Configuration,
    /// Signs what a webhook gets.
    pub hmac_secret: Option<String>,
}

/// What nobody is shown again.
const HIDDEN: [&str; 3] = ["apiKey", "ddApiKey", "headers"];

impl Configuration {
    /// Errors: `InvalidLogStream`.
    pub fn parse(json: Json) -> Result<Configuration> {
        let configuration: Configuration = serde_json::from_value(json).map_err(|error| {
            // What is there may be a secret; what is missing is none.
            let text = error.to_string();
            let is_harmless =
                ["missing field", "unknown variant"].iter().any(|begin| text.starts_with(begin));
            let why = if is_harmless { text } else { "a field is not of its type".to_owned() };
            invalid(&why)
        })?;
        configuration.check()?;
        Ok(configuration)
    }

    fn check(&self) -> Result<()> {
        let address = |name: &str, text: &str| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            url.filter(|url| url.host().is_some())
                .ok_or_else(|| invalid(&format!("{name} is not an address with https:// or http://")))
        };
        let filled = |name: &str, text: &str| match text.trim().is_empty() || text.contains(['\r', '\n']) {
            true => Err(invalid(&format!("{name} is empty or has line ends"))),
            false => Ok(()),
        };
        match self {
            Configuration::Webhook { url, .. } => address("url", url).map(drop),
            Configuration::Axiom { api_key, dataset_name, ingest_url, .. } => {
                filled("apiKey", api_key)?;
                filled("datasetName", dataset_name)?;
                ingest_url.iter().try_for_each(|url| address("ingestUrl", url).map(drop))
            }
            Configuration::Datadog { dd_api_key, .. } => filled("ddApiKey", dd_api_key),
            Configuration::Sentry { dsn, .. } => {
                let url = address("dsn", dsn)?;
                let project = url.path().rsplit('/').next().unwrap_or_default();
                match url.username().is_empty() || project.is_empty() {
                    true => Err(invalid("dsn has no key or no project")),
                    false => Ok(()),
                }
            }
            Configuration::PostHogLogs { api_key, host, .. }
            | Configuration::PostHogErrorTracking { api_key, host } => {
                filled("apiKey", api_key)?;
                host.iter().try_for_each(|host| address("host", host).map(drop))
            }
            Configuration::Otlp { endpoint, headers, .. } => {
                address("endpoint", endpoint)?;
                headers.iter().try_for_each(|header| {
                    let name = egress::HeaderName::try_from(header.key.as_str());
                    let value = egress::HeaderValue::try_from(header.value.as_str());
                    match name.is_ok() && value.is_ok() {
                        true => Ok(()),
                        false => Err(invalid("headers has one that can't be sent")),
                    }
                })
            }
        }
    }

    /// What names its kind: a deployment has one of each.
    pub fn kind(&self) -> &'static str {
        match self {
            Configuration::Webhook { .. } => "webhook",
            Configuration::Axiom { .. } => "axiom",
            Configuration::Datadog { .. } => "datadog",
            Configuration::Sentry { .. } => "sentry",
            Configuration::PostHogLogs { .. } => "postHogLogs",
            Configuration::PostHogErrorTracking { .. } => "postHogErrorTracking",
            Configuration::Otlp { .. } => "otlp",
        }
    }

    /// Whether events of a topic are for it. Those that collect exceptions want nothing else.
    pub fn wants(&self, topic: Topic) -> bool {
        match self {
            Configuration::Sentry { .. } | Configuration::PostHogErrorTracking { .. } => {
                topic == Topic::Exception
            }
            Configuration::Webhook { topics, .. }
            | Configuration::Axiom { topics, .. }
            | Configuration::Datadog { topics, .. }
            | Configuration::PostHogLogs { topics, .. }
            | Configuration::Otlp { topics, .. } => {
                // Whatever it wants, it can be tried.
                topic == Topic::Verification || topics.as_ref().is_none_or(|topics| topics.contains(&topic))
            }
        }
    }

    /// With the fields of `changes` in the place of its own: `null` unsets one. Errors: `InvalidLogStream`.
    pub fn changed_by(&self, changes: Map<String, Json>) -> Result<Configuration> {
        let mut fields = self.fields();
        if changes.get("logStreamType").is_some_and(|kind| kind != self.kind()) {
            return Err(invalid(&format!("it is of the type {} and stays so", self.kind())));
        }
        for (name, value) in changes {
            match value {
                Json::Null => fields.remove(&name),
                value => fields.insert(name, value),
            };
        }
        Configuration::parse(Json::Object(fields))
    }

    /// As it is shown.
    pub fn shown(&self) -> Map<String, Json> {
        let mut fields = self.fields();
        HIDDEN.iter().for_each(|name| {
            fields.remove(*name);
        });
        fields
    }

    fn fields(&self) -> Map<String, Json> {
        match serde_json::to_value(self) {
            Ok(Json::Object(fields)) => fields,
            _ => unreachable!("a configuration is an object with string keys"),
        }
    }
}

pub(crate) fn invalid(why: &str) -> Error {
    Error::bad_request("InvalidLogStream", format!("The log stream can't be: {why}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_is_read_as_the_api_spells_it() {
        let cases = [
            json!({"logStreamType": "webhook", "url": "https://x.example/in", "format": "jsonl", "topics": ["console"]}),
            json!({"logStreamType": "axiom", "apiKey": "k", "datasetName": "d", "attributes": [{"key": "a", "value": "b"}]}),
            json!({"logStreamType": "datadog", "ddApiKey": "k", "ddTags": ["a:b"], "siteLocation": "US1_FED", "topics": null}),
            json!({"logStreamType": "sentry", "dsn": "https://key@sentry.example/7", "tags": {"a": "b"}}),
            json!({"logStreamType": "postHogLogs", "apiKey": "k", "serviceName": "s"}),
            json!({"logStreamType": "postHogErrorTracking", "apiKey": "k", "host": "https://eu.i.posthog.com"}),
            json!({"logStreamType": "otlp", "endpoint": "http://127.0.0.1:4318", "headers": [{"key": "a", "value": "b"}]}),
        ];
        for json in cases {
            let kind = json["logStreamType"].clone();
            let configuration = Configuration::parse(json).unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!(configuration.kind(), kind);
            let shown = configuration.shown();
            assert!(HIDDEN.iter().all(|name| !shown.contains_key(*name)), "{kind} hides its keys");
        }
    }

    #[test]
    fn what_can_not_be_is_refused_and_no_secret_repeated() {
        let cases = [
            (json!({"logStreamType": "webhook", "url": "ftp://x", "format": "json"}), "url"),
            (json!({"logStreamType": "webhook", "format": "json"}), "missing field `url`"),
            (
                json!({"logStreamType": "webhook", "url": "https://x", "format": "json", "topics": ["all"]}),
                "unknown variant",
            ),
            (json!({"logStreamType": "fax"}), "unknown variant"),
            (json!({"logStreamType": "sentry", "dsn": "https://sentry.example/7"}), "no key"),
            (json!({"logStreamType": "axiom", "apiKey": "", "datasetName": "d"}), "apiKey"),
            (json!({"logStreamType": "axiom", "apiKey": ["secret"], "datasetName": "d"}), "not of its type"),
        ];
        for (json, why) in cases {
            let error = Configuration::parse(json.clone()).err().unwrap_or_else(|| panic!("{json}"));
            assert_eq!(error.code, "InvalidLogStream");
            assert!(error.message.contains(why), "{}", error.message);
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_unsets_what_is_null() {
        let json = json!({"logStreamType": "webhook", "url": "https://x.example", "format": "json", "topics": ["console"]});
        let before = Configuration::parse(json).expect("it is one");
        let change = |json: Json| before.changed_by(json.as_object().expect("an object").clone());
        let changed = change(json!({"format": "jsonl", "topics": null})).expect("it may");
        assert!(changed.wants(Topic::FunctionExecution) && !before.wants(Topic::FunctionExecution));
        assert_eq!(changed.shown()["url"], "https://x.example");
        assert!(change(json!({"logStreamType": "axiom"})).is_err());
        assert!(change(json!({"url": null})).is_err(), "it can't be without");
    }

    #[test]
    fn those_that_collect_exceptions_get_nothing_else() {
        let sentry = json!({"logStreamType": "sentry", "dsn": "https://key@sentry.example/7"});
        let sentry = Configuration::parse(sentry).expect("it is one");
        assert!(sentry.wants(Topic::Exception) && !sentry.wants(Topic::Console));
    }
}
