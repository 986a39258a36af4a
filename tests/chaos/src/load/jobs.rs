//! Scheduled functions.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    clients::{Answer, CALL_TIME_MAX, Http},
    world::World,
};

const PAUSE_MS: std::ops::Range<u64> = 100..500;
const DELAY_MS_MAX: u64 = 4_000;

pub async fn plan(world: Arc<World>) {
    let mut random = world.random("jobs", 0);
    let http = Http::new(1, CALL_TIME_MAX);
    for number in 0.. {
        if world.is_over() {
            return;
        }
        let name = format!("plan {number}");
        let place = world.some_place(&mut random);
        let args = json!({ "name": name, "ms": random.random_range(0..DELAY_MS_MAX) });
        if let Answer::Value(_) = http.mutation(place, "jobs:plan", args).await {
            world.plans.lock().expect("nobody panics with it").push(name);
        }
        world.did_operation();
        sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
    }
}
