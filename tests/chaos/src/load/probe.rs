//! Small commits, all the time and at every node: they show when the cluster takes writes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    clients::{Answer, Http},
    world::World,
};

pub const PROBERS: u64 = 3;
const PAUSE: Duration = Duration::from_millis(40);
const BEAT_TIME_MAX: Duration = Duration::from_millis(1_000);

/// Each prober keeps to one of the members, each call has a connection of its own.
pub async fn beat(world: Arc<World>, number: u64) {
    let http = Http::new(0, BEAT_TIME_MAX);
    let owner = format!("prober {number}");
    let mut acknowledged = 0;
    while !world.is_over() {
        let places = world.places();
        let place = places[number as usize % places.len()];
        if let Answer::Value(_) = http.mutation(place, "counters:count", json!({ "owner": owner })).await {
            acknowledged += 1;
            world.beats.lock().expect("nobody panics with it").push(world.micros());
        }
        world.did_operation();
        sleep(PAUSE).await;
    }
    world.counted.lock().expect("nobody panics with it").push((owner, acknowledged, 0));
}
