//! Calls over the HTTP API, and what came of them.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::world::{Place, World};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);
pub const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Codes by which a server says that a call had no effect.
const WITHOUT_EFFECT: [&str; 3] =
    ["NotLeader", "OptimisticConcurrencyControlFailure", "TooManyConcurrentRequests"];

#[derive(Debug)]
pub enum Answer {
    Value(Json),
    /// The function threw: no effect.
    Thrown(String),
    /// Refused, and known to be without effect.
    Refused(String),
    /// It may have had its effect.
    Lost(String),
}

pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// `idle_max`: how many connections to each node are kept for the next call.
    pub fn new(idle_max: usize, call_time_max: Duration) -> Http {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIME_MAX.min(call_time_max))
            .timeout(call_time_max)
            .pool_max_idle_per_host(idle_max)
            .build()
            .expect("it has no TLS that could be missing");
        Http { client }
    }

    pub async fn query(&self, place: Place, path: &str, args: Json) -> Answer {
        self.call(place, "query", &json!({ "path": path, "args": args, "format": "json" })).await
    }

    pub async fn mutation(&self, place: Place, path: &str, args: Json) -> Answer {
        self.call(place, "mutation", &json!({ "path": path, "args": args, "format": "json" })).await
    }

    pub async fn call(&self, place: Place, kind: &str, body: &Json) -> Answer {
        match self.post(&format!("{}/api/{kind}", place.api()), body).await {
            // Nothing was sent.
            Err(error) if error.is_connect() => Answer::Refused(error.to_string()),
            Err(error) => Answer::Lost(error.to_string()),
            Ok((200, answer)) if answer["status"] == "success" => Answer::Value(answer["value"].clone()),
            Ok((200, answer)) if answer["status"] == "error" => {
                Answer::Thrown(answer["errorMessage"].as_str().unwrap_or_default().to_owned())
            }
            Ok((status, answer)) => {
                let text = format!("{status} {answer}");
                let code = answer["code"].as_str().unwrap_or_default();
                if WITHOUT_EFFECT.contains(&code) { Answer::Refused(text) } else { Answer::Lost(text) }
            }
        }
    }

    /// Status and body.
    pub async fn post(&self, url: &str, body: &Json) -> reqwest::Result<(u16, Json)> {
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Json::Null)))
    }

    /// Sends bytes, and gets JSON.
    pub async fn upload(&self, url: &str, bytes: Vec<u8>) -> reqwest::Result<(u16, Json)> {
        let request = self.client.post(url).header("content-type", "application/octet-stream").body(bytes);
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Json::Null)))
    }

    pub async fn download(&self, url: &str) -> reqwest::Result<(u16, Vec<u8>)> {
        let response = self.client.get(url).send().await?;
        let status = response.status().as_u16();
        Ok((status, response.bytes().await?.to_vec()))
    }
}

/// An address that a server has given, at another member.
pub fn at(place: Place, url: &str) -> String {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    format!("{}/{path}", place.api())
}

/// Asks members in turn until one answers; only for when all is settled.
pub async fn ask_any(world: &World, http: &Http, path: &str, args: Json) -> Result<Json, String> {
    let mut last = String::new();
    for attempt in 0..60 {
        let places = world.places();
        let place = places[attempt % places.len()];
        match http.query(place, path, args.clone()).await {
            Answer::Value(value) => return Ok(value),
            Answer::Thrown(text) | Answer::Refused(text) | Answer::Lost(text) => last = text,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(last)
}
