//! Files: uploaded, then kept under a name by a mutation.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    clients::{Answer, CALL_TIME_MAX, Http, at},
    world::World,
};

const PAUSE_MS: std::ops::Range<u64> = 300..1_200;
const BYTES_MAX: usize = 200_000;

/// What is in the file with this seed.
pub fn content(seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; random.random_range(1..BYTES_MAX)];
    random.fill_bytes(&mut bytes);
    bytes
}

pub async fn keep(world: Arc<World>) {
    let mut random = world.random("files", 0);
    let http = Http::new(1, CALL_TIME_MAX);
    for number in 0.. {
        if world.is_over() {
            return;
        }
        let seed = random.random();
        let name = format!("file {number}");
        let places = [(); 3].map(|()| world.some_place(&mut random));
        let kept = async {
            let Answer::Value(url) = http.mutation(places[0], "files:uploadUrl", json!({})).await else {
                return false;
            };
            let url = at(places[1], url.as_str().unwrap_or_default());
            let Ok((200, stored)) = http.upload(&url, content(seed)).await else { return false };
            let args = json!({ "name": name, "file": stored["storageId"] });
            matches!(http.mutation(places[2], "files:keep", args).await, Answer::Value(_))
        };
        if kept.await {
            world.files.lock().expect("nobody panics with it").push((name, seed));
        }
        world.did_operation();
        sleep(Duration::from_millis(random.random_range(PAUSE_MS))).await;
    }
}
