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
    findings::{Promise, fail},
    load::lists::{OFFICIAL_TIME_MAX, arguments, connect},
    world::World,
};

const PAUSE_MS_MAX: u64 = 150;
const LOOK: Duration = Duration::from_millis(20);
const STEP_PAUSE_MS_MAX: u64 = 120;

/// One client for the whole run.
pub async fn view(world: Arc<World>, number: u64) {
    let owner = format!("viewer {number}");
    let mut client = connect(&world).await;
    // When it was last shown anything, in microseconds of the run.
    let shown = AtomicU64::new(world.micros());
    tokio::select! {
        () = count(world.clone(), client.clone(), &owner, &shown) => {}
        () = watch(&world, &mut client, &owner, &shown) => {}
    }
}

/// Counts, one after the other, until the run is over.
async fn count(world: Arc<World>, mut client: ConvexClient, owner: &str, shown: &AtomicU64) {
    let mut random = world.random(owner, 0);
    let mut last = 0;
    let mut untold = 0;
    for number in 0.. {
        if world.is_over() {
            break;
        }
        let args = arguments(json!({ "owner": owner }));
        // It comes again as that of another session if its connection is lost, so the app has to know it.
        let named = arguments(json!({ "owner": owner, "name": format!("{owner} {number}") }));
        let answer = timeout(OFFICIAL_TIME_MAX, client.mutation("counters:count", named)).await;
        world.findings.checked(Promise::Answered, 1);
        let told = match answer {
            Ok(Ok(FunctionResult::Value(Value::Float64(count)))) => count as u64,
            // It says nothing of an attempt that the client has made before, by another connection.
            Ok(Ok(error)) => {
                world.note(&format!("{owner} was answered by an error: {error:?}"));
                untold += 1;
                continue;
            }
            // The client had lost its connection as it took the mutation: it says so, and sends it all the same when it has another one.
            Ok(Err(error)) => {
                world.note(&format!("{owner} is not told what came of a mutation: {}", error.root_cause()));
                untold += 1;
                continue;
            }
            Err(_) => {
                let silent = Duration::from_micros(world.micros() - shown.load(Relaxed));
                let text = format!(
                    "{owner} has no answer to its mutation {number} in {OFFICIAL_TIME_MAX:?}, and was last shown a view {silent:.1?} ago"
                );
                fail(&world, Promise::Answered, text);
                untold += 1;
                break;
            }
        };
        world.did_operation();
        world.findings.checked(Promise::ExactlyOnce, 1);
        let missed = told.checked_sub(last + 1);
        if missed.is_none_or(|missed| missed > untold) {
            let text = format!("{owner} had counted {last} times, and {untold} untold; the next is {told}");
            fail(&world, Promise::ExactlyOnce, text);
        }
        untold = untold.saturating_sub(missed.unwrap_or_default());
        last = told;
        // This client reports a mutation with the next message of the server's, which may have been sent before it (a mutation's answer
        // has the moment from which on a view shows it; the client does not wait for it). So it may look again.
        let until = Instant::now() + OFFICIAL_TIME_MAX;
        loop {
            match timeout(OFFICIAL_TIME_MAX, client.query("counters:counted", args.clone())).await {
                Ok(Ok(FunctionResult::Value(Value::Float64(seen)))) if seen as u64 >= told => break,
                Ok(Ok(FunctionResult::Value(_))) if Instant::now() < until => sleep(LOOK).await,
                other => {
                    fail(
                        &world,
                        Promise::OwnWrites,
                        format!("{owner} was told {told}, and then sees {other:?}"),
                    );
                    break;
                }
            }
        }
        world.findings.checked(Promise::OwnWrites, 1);
        sleep(Duration::from_millis(random.random_range(0..PAUSE_MS_MAX))).await;
    }
    world.counted.lock().expect("nobody panics with it").push((owner.to_owned(), last, untold));
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
