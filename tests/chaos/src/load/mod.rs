//! The load: clients of all kinds, each a task that goes on until the run is over, and notes what it was told.

pub mod counters;
pub mod files;
pub mod jobs;
pub mod lists;
pub mod probe;
pub mod registers;
pub mod subscriptions;

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    findings::{Promise, fail},
    world::World,
};

const HTTP_CALLERS: u64 = 6;
const GRPC_CALLERS: u64 = 3;
const OFFICIAL_CALLERS: u64 = 3;
const VIEWERS: u64 = 2;
const SUBSCRIBERS: u64 = 2;
/// More than any client waits for one answer.
const END_TIME_MAX: Duration = Duration::from_secs(200);

pub struct Load {
    tasks: JoinSet<()>,
}

pub fn begin(world: &Arc<World>) -> Load {
    let mut tasks = JoinSet::new();
    for number in 0..HTTP_CALLERS {
        tasks.spawn(lists::call_over_http(world.clone(), number));
    }
    tasks.spawn(lists::call_over_grpc(world.clone()));
    for number in 0..OFFICIAL_CALLERS {
        tasks.spawn(lists::call_by_official_client(world.clone(), number));
    }
    for number in 0..GRPC_CALLERS {
        tasks.spawn(registers::call(world.clone(), number));
    }
    for number in 0..VIEWERS {
        tasks.spawn(counters::view(world.clone(), number));
    }
    tasks.spawn(counters::step(world.clone()));
    for number in 0..SUBSCRIBERS {
        tasks.spawn(subscriptions::follow(world.clone(), number));
    }
    tasks.spawn(jobs::plan(world.clone()));
    tasks.spawn(files::keep(world.clone()));
    for number in 0..probe::PROBERS {
        tasks.spawn(probe::beat(world.clone(), number));
    }
    Load { tasks }
}

impl Load {
    /// Waits until each client has its last answer.
    pub async fn end(mut self, world: &World) {
        world.end();
        let ended = tokio::time::timeout(END_TIME_MAX, async {
            while let Some(task) = self.tasks.join_next().await {
                if let Err(error) = task {
                    fail(world, Promise::Answered, format!("a client of ours has failed: {error}"));
                }
            }
        });
        if ended.await.is_err() {
            let left = self.tasks.len();
            fail(world, Promise::Answered, format!("{left} clients have no answer after {END_TIME_MAX:?}"));
        }
    }
}
