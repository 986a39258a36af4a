//! The official client over the WebSocket: what it shows is of one moment and never goes back, its own mutations are in view when they
//! are answered, and take effect once, over all connections that it needs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use convex::{ConvexClient, FunctionResult, Value};
use futures::StreamExt as _;
use rand::RngExt as _;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    clients::{CALL_TIME_MAX, Http},
    findings::{Promise, fail, say},
    load::lists::{OFFICIAL_TIME_MAX, arguments, connect},
    world::World,
};

const PAUSE_MS_MAX: u64 = 150;
const LOOK: Duration = Duration::from_millis(20);
const STEP_PAUSE_MS_MAX: u64 = 120;

/// What an owner was told of its counter, by all of its clients.
#[derive(Default)]
struct Told {
    count: u64,
    /// Mutations of which it was not told what came of them.
    untold: u64,
    mutations: u64,
}

/// One client for the whole run, unless it stands still.
pub async fn view(world: Arc<World>, number: u64) {
    let owner = format!("viewer {number}");
    let mut told = Told::default();
    while !world.is_over() {
        let (mut client, door) = connect(&world).await;
        // When it was last shown anything, in microseconds of the run.
        let shown = AtomicU64::new(world.micros());
        let silent = tokio::select! {
            silent = count(&world, client.clone(), &owner, &mut told) => silent,
            () = watch(&world, &mut client, &owner, &shown) => None,
        };
        let Some(unanswered) = silent else { continue };
        if door.stood_still(&world, OFFICIAL_TIME_MAX) {
            say(&world, format_args!("{owner} makes no connection any more: another client takes its place"));
        } else {
            let shown = Duration::from_micros(world.micros() - shown.load(Relaxed));
            let text = format!(
                "{owner} has no answer to {unanswered} in {OFFICIAL_TIME_MAX:?}, and was last shown a view {shown:.1?} ago"
            );
            fail(&world, Promise::Answered, text);
        }
    }
    world.counted.lock().expect("nobody panics with it").push((owner, told.count, told.untold));
}

/// Counts, one after the other, until the run is over, or something is not answered: what.
async fn count(world: &World, mut client: ConvexClient, owner: &str, told: &mut Told) -> Option<String> {
    let mut random = world.random(owner, told.mutations);
    while !world.is_over() {
        let number = told.mutations;
        told.mutations += 1;
        let args = arguments(json!({ "owner": owner }));
        // It comes again as that of another session if its connection is lost, so the app has to know it.
        let named = arguments(json!({ "owner": owner, "name": format!("{owner} {number}") }));
        let answer = timeout(OFFICIAL_TIME_MAX, client.mutation("counters:count", named)).await;
        world.findings.checked(Promise::Answered, 1);
        let count = match answer {
            Ok(Ok(FunctionResult::Value(Value::Float64(count)))) => count as u64,
            // It says nothing of an attempt that the client has made before, by another connection.
            Ok(Ok(error)) => {
                world.note(&format!("{owner} was answered by an error: {error:?}"));
                told.untold += 1;
                continue;
            }
            // The client had lost its connection as it took the mutation: it says so, and sends it all the same when it has another one.
            Ok(Err(error)) => {
                world.note(&format!("{owner} is not told what came of a mutation: {}", error.root_cause()));
                told.untold += 1;
                continue;
            }
            Err(_) => {
                told.untold += 1;
                return Some(format!("its mutation {number}"));
            }
        };
        world.did_operation();
        world.findings.checked(Promise::ExactlyOnce, 1);
        let missed = count.checked_sub(told.count + 1);
        if missed.is_none_or(|missed| missed > told.untold) {
            let Told { count: last, untold, .. } = &*told;
            let text = format!("{owner} had counted {last} times, and {untold} untold; the next is {count}");
            fail(world, Promise::ExactlyOnce, text);
        }
        told.untold = told.untold.saturating_sub(missed.unwrap_or_default());
        told.count = count;
        // This client reports a mutation with the next message of the server's, which may have been sent before it (a mutation's answer
        // has the moment from which on a view shows it; the client does not wait for it). So it may look again.
        let until = Instant::now() + OFFICIAL_TIME_MAX;
        loop {
            match timeout(OFFICIAL_TIME_MAX, client.query("counters:counted", args.clone())).await {
                Ok(Ok(FunctionResult::Value(Value::Float64(seen)))) if seen as u64 >= count => break,
                Ok(Ok(FunctionResult::Value(_))) if Instant::now() < until => sleep(LOOK).await,
                Err(_) => return Some("a query".to_owned()),
                other => {
                    let text = format!("{owner} was told {count}, and then sees {other:?}");
                    fail(world, Promise::OwnWrites, text);
                    break;
                }
            }
        }
        world.findings.checked(Promise::OwnWrites, 1);
        sleep(Duration::from_millis(random.random_range(0..PAUSE_MS_MAX))).await;
    }
    None
}

/// Looks at all that the client shows, after each message of the server's.
async fn watch(world: &World, client: &mut ConvexClient, owner: &str, last_shown: &AtomicU64) {
    let mut watched = client.watch_all();
    let mut subscriptions = Vec::new();
    for (path, args) in [
        ("counters:version", json!({ "side": "left" })),
        ("counters:version", json!({ "side": "right" })),
        ("counters:counted", json!({ "owner": owner })),
    ] {
        match client.subscribe(path, arguments(args)).await {
            Ok(subscription) => subscriptions.push(subscription),
            Err(error) => {
                return fail(world, Promise::Answered, format!("{owner} can't subscribe: {error:#}"));
            }
        }
    }
    let mut seen = [0.0; 3];
    while let Some(results) = watched.next().await {
        last_shown.store(world.micros(), Relaxed);
        let shown = subscriptions.iter().map(|subscription| match results.get(subscription.id()) {
            Some(FunctionResult::Value(Value::Float64(value))) => Some(*value),
            _ => None,
        });
        let shown: Vec<Option<f64>> = shown.collect();
        if let (Some(left), Some(right)) = (shown[0], shown[1]) {
            world.findings.checked(Promise::OneMoment, 1);
            if left != right {
                fail(world, Promise::OneMoment, format!("{owner} is shown {left} and {right}"));
            }
        }
        for (before, now) in seen.iter_mut().zip(shown) {
            let Some(now) = now else { continue };
            world.findings.checked(Promise::Monotone, 1);
            if now < *before {
                fail(world, Promise::Monotone, format!("{owner} was shown {before}, and then {now}"));
            }
            *before = now;
        }
    }
}

/// Moves both sides on.
pub async fn step(world: Arc<World>) {
    let mut random = world.random("steps", 0);
    let http = Http::new(1, CALL_TIME_MAX);
    while !world.is_over() {
        let place = world.some_place(&mut random);
        http.mutation(place, "counters:step", json!({})).await;
        world.did_operation();
        sleep(Duration::from_millis(random.random_range(0..STEP_PAUSE_MS_MAX))).await;
    }
}
