//! Subscriptions over gRPC, which go on at another node from the newest moment that was seen.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    findings::{Promise, fail},
    grpc::{
        self, Connections,
        deployment::{SubscribeRequest, subscribe_response::Event},
    },
    world::World,
};

const RETRY: Duration = Duration::from_millis(300);
/// A response comes at least this often: the other side changes all the time.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// A stream of this length ends, so that there are many that go on.
const STREAM_TIME_MAX: Duration = Duration::from_secs(20);

pub async fn follow(world: Arc<World>, number: u64) {
    let mut random = world.random("subscriptions", number);
    let mut connections = Connections::default();
    let side = if number % 2 == 0 { "left" } else { "right" };
    let mut newest = 0;
    let mut seen: BTreeMap<u64, f64> = BTreeMap::new();
    while !world.is_over() {
        let place = world.some_place(&mut random);
        let request = SubscribeRequest {
            call: grpc::call("counters:version", json!({ "side": side })),
            from_timestamp: (newest > 0).then_some(newest),
            journal: None,
        };
        let mut client = connections.client(place);
        if let Ok(Ok(stream)) = timeout(SILENCE_MAX, client.subscribe(request)).await {
            let mut stream = stream.into_inner();
            let until = tokio::time::Instant::now() + STREAM_TIME_MAX;
            while tokio::time::Instant::now() < until && !world.is_over() {
                let Ok(Ok(Some(response))) = timeout(SILENCE_MAX, stream.message()).await else { break };
                world.findings.checked(Promise::Monotone, 1);
                if response.timestamp < newest {
                    let text =
                        format!("subscriber {number} had seen {newest}, and is shown {}", response.timestamp);
                    fail(&world, Promise::Monotone, text);
                }
                newest = newest.max(response.timestamp);
                let Some(Event::Result(result)) = response.event else { continue };
                let Ok(Ok(value)) = grpc::returned(Some(result)) else { continue };
                let version = value.as_f64().unwrap_or_default();
                let earlier = seen.range(..=response.timestamp).next_back();
                if earlier.is_some_and(|(_, earlier)| *earlier > version) {
                    let text =
                        format!("subscriber {number} was shown {earlier:?}, and then {version} of {newest}");
                    fail(&world, Promise::Monotone, text);
                }
                seen.insert(response.timestamp, version);
            }
        }
        connections.forget(place);
        sleep(RETRY).await;
    }
}
