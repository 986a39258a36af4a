//! Transactions over lists: reads of keys and ranges, and appends, several in one. By HTTP, by gRPC without keys, and by the official
//! client, which sends a mutation again until it knows what came of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use checker::{Operation, Outcome, Transaction};
use convex::{ConvexClient, FunctionResult, Value};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use crate::{
    clients::{self, Answer, CALL_TIME_MAX, Http},
    findings::{Promise, fail, say},
    grpc::{self, deployment::MutationRequest},
    relay::{self, Door},
    world::World,
};

/// So many keys are in use at a time. They move on, so that there are always keys that are not there yet.
pub const WINDOW: u64 = 6;
const TRANSACTIONS_PER_KEY: u64 = 30;
const PAUSE_MS_MAX: u64 = 40;
/// What a mutation throws that is to fail.
const ASKED_TO_FAIL: &str = "asked to fail";
/// After an answer did not come.
const PAUSE_LOST: Duration = Duration::from_millis(200);
/// The official client is to have an answer by then, whatever fault there was: it pauses up to 15 s between two attempts, and notices
/// after 30 s that nothing comes.
pub const OFFICIAL_TIME_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
enum Step {
    Read { key: u64 },
    Range { from: u64, to: u64 },
    Append { key: u64, value: String },
}

impl Step {
    fn json(&self) -> Json {
        match self {
            Step::Read { key } => json!({ "kind": "read", "key": key }),
            Step::Range { from, to } => json!({ "kind": "range", "from": from, "to": to }),
            Step::Append { key, value } => json!({ "kind": "append", "key": key, "value": value }),
        }
    }
}

struct Random {
    id: u64,
    steps: Vec<Step>,
    fail: bool,
}

fn random_transaction(world: &World, random: &mut ChaCha8Rng) -> Random {
    let id = world.next_id();
    let first = id / TRANSACTIONS_PER_KEY;
    let only_reads = random.random_bool(0.3);
    let steps = (0..random.random_range(1..=4))
        .map(|number| {
            let key = first + random.random_range(0..WINDOW);
            if !only_reads && random.random_bool(0.5) {
                Step::Append { key, value: format!("{id}.{number}") }
            } else if random.random_bool(0.4) {
                Step::Range { from: key, to: key + random.random_range(0..3) }
            } else {
                Step::Read { key }
            }
        })
        .collect();
    Random { id, steps, fail: random.random_bool(0.04) }
}

/// How many keys there may be.
pub fn keys(world: &World) -> u64 {
    world.ids() / TRANSACTIONS_PER_KEY + WINDOW + 3
}

impl Random {
    fn is_mutation(&self) -> bool {
        self.fail || self.steps.iter().any(|step| matches!(step, Step::Append { .. }))
    }

    fn steps(&self) -> Json {
        Json::Array(self.steps.iter().map(Step::json).collect())
    }

    /// `by` says which client it was.
    fn note(&self, world: &World, by: &str, start: u64, outcome: Outcome, answer: Option<&Json>) {
        let operations = match answer {
            Some(answer) => observed(&self.steps, answer),
            None => self.steps.iter().filter_map(intended).collect(),
        };
        let end = (outcome != Outcome::Unknown).then(|| world.micros());
        world.lists.add(Transaction { id: self.id, start, end, outcome, operations });
        world.note(&format!("transaction {} by {by}: {outcome:?}", self.id));
        world.did_operation();
    }
}

fn intended(step: &Step) -> Option<Operation> {
    match step {
        Step::Append { key, value } => Some(Operation::Append { key: *key, value: value.clone() }),
        _ => None,
    }
}

/// A range is a read of each key in it, of those too that were not there.
fn observed(steps: &[Step], answer: &Json) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        let mut lists: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for list in answer[position].as_array().into_iter().flatten() {
            let key = list["key"].as_f64().unwrap_or(-1.0) as u64;
            let values = list["values"].as_array().into_iter().flatten();
            // Two documents of one key are a fault; one list made of both shows it to the checker.
            lists
                .entry(key)
                .or_default()
                .extend(values.map(|value| value.as_str().unwrap_or_default().to_owned()));
        }
        let read = |key: u64| Operation::Read { key, values: lists.get(&key).cloned().unwrap_or_default() };
        match step {
            Step::Range { from, to } => operations.extend((*from..=*to).map(read)),
            Step::Read { key } => operations.push(read(*key)),
            Step::Append { key, value } => {
                operations.push(read(*key));
                operations.push(Operation::Append { key: *key, value: value.clone() });
            }
        }
    }
    operations
}

pub async fn call_over_http(world: Arc<World>, number: u64) {
    let mut random = world.random("lists http", number);
    let http = Http::new(1, CALL_TIME_MAX);
    while !world.is_over() {
        let place = world.some_place(&mut random);
        let transaction = random_transaction(&world, &mut random);
        let by = format!("HTTP caller {number} at node {}", place.node);
        let start = world.micros();
        let answer = if transaction.is_mutation() {
            let args = json!({ "steps": transaction.steps(), "fail": transaction.fail });
            http.mutation(place, "lists:transact", args).await
        } else {
            http.query(place, "lists:observe", json!({ "steps": transaction.steps() })).await
        };
        match answer {
            Answer::Value(value) => transaction.note(&world, &by, start, Outcome::Committed, Some(&value)),
            Answer::Thrown(_) => transaction.note(&world, &by, start, Outcome::Failed, None),
            Answer::Refused(_) => {
                transaction.note(&world, &by, start, Outcome::Failed, None);
                sleep(PAUSE_LOST).await;
            }
            Answer::Lost(_) => {
                transaction.note(&world, &by, start, Outcome::Unknown, None);
                sleep(PAUSE_LOST).await;
            }
        }
        pause(&mut random).await;
    }
}

/// A call without a key that the server says to be without effect must have had none.
pub async fn call_over_grpc(world: Arc<World>) {
    let mut random = world.random("lists grpc", 0);
    let mut connections = grpc::Connections::default();
    while !world.is_over() {
        let place = world.some_place(&mut random);
        let transaction = random_transaction(&world, &mut random);
        let args = json!({ "steps": transaction.steps(), "fail": transaction.fail });
        let request = MutationRequest { call: grpc::call("lists:transact", args), idempotency_key: None };
        let by = format!("the gRPC caller at node {}", place.node);
        let start = world.micros();
        let mut client = connections.client(place);
        let answer = timeout(CALL_TIME_MAX, client.mutation(grpc::in_time(request, CALL_TIME_MAX))).await;
        match answer {
            Ok(Ok(answer)) => match grpc::returned(answer.into_inner().result) {
                Ok(Ok(value)) => transaction.note(&world, &by, start, Outcome::Committed, Some(&value)),
                Ok(Err(_)) => transaction.note(&world, &by, start, Outcome::Failed, None),
                Err(error) => fail(&world, Promise::Answered, format!("{error:#}")),
            },
            Ok(Err(status)) if grpc::is_without_effect(&status) => {
                transaction.note(&world, &by, start, Outcome::Failed, None);
                sleep(PAUSE_LOST).await;
            }
            Ok(Err(_)) | Err(_) => {
                transaction.note(&world, &by, start, Outcome::Unknown, None);
                connections.forget(place);
                sleep(PAUSE_LOST).await;
            }
        }
        pause(&mut random).await;
    }
}

/// Mutations only: what a live query shows is of one moment, but not always of the newest.
pub async fn call_by_official_client(world: Arc<World>, number: u64) {
    let mut random = world.random("lists official", number);
    let (mut client, mut door) = connect(&world).await;
    while !world.is_over() {
        let transaction = random_transaction(&world, &mut random);
        if !transaction.is_mutation() {
            continue;
        }
        // It comes again as that of another session if its connection is lost, so the app has to know it.
        let name = format!("transaction {}", transaction.id);
        let args = json!({ "steps": transaction.steps(), "fail": transaction.fail, "name": name });
        let by = format!("official client {number}");
        let start = world.micros();
        match timeout(OFFICIAL_TIME_MAX, client.mutation("lists:transact", arguments(args))).await {
            Ok(Ok(FunctionResult::Value(value))) => {
                transaction.note(&world, &by, start, Outcome::Committed, Some(&Json::from(value)));
            }
            Ok(Ok(FunctionResult::ErrorMessage(text))) if text.contains(ASKED_TO_FAIL) => {
                transaction.note(&world, &by, start, Outcome::Failed, None);
            }
            // It says nothing of an attempt that the client has made before, by another connection.
            Ok(Ok(_)) => transaction.note(&world, &by, start, Outcome::Unknown, None),
            // It had lost its connection as it took the mutation: it says so, and sends it all the same when it has another one.
            Ok(Err(_)) => transaction.note(&world, &by, start, Outcome::Unknown, None),
            Err(_) => {
                transaction.note(&world, &by, start, Outcome::Unknown, None);
                if door.stood_still(&world, OFFICIAL_TIME_MAX) {
                    say(
                        &world,
                        format_args!(
                            "official client {number} makes no connection any more: another one takes its place"
                        ),
                    );
                } else {
                    let text = format!("{by} has no answer to {} in {OFFICIAL_TIME_MAX:?}", transaction.id);
                    fail(&world, Promise::Answered, text);
                }
                (client, door) = connect(&world).await;
            }
        }
        world.findings.checked(Promise::Answered, 1);
        pause(&mut random).await;
    }
}

/// By a relay of its own, to any member.
pub async fn connect(world: &Arc<World>) -> (ConvexClient, Arc<Door>) {
    loop {
        if let Ok(door) = relay::to_any_member(world.clone()).await
            && let Ok(client) = ConvexClient::new(&door.url).await
        {
            return (client, door);
        }
        sleep(PAUSE_LOST).await;
    }
}

pub fn arguments(args: Json) -> BTreeMap<String, Value> {
    let Json::Object(fields) = args else { panic!("arguments are an object") };
    let value = |json| Value::try_from(json).expect("plain values");
    fields.into_iter().map(|(name, json)| (name, value(json))).collect()
}

async fn pause(random: &mut ChaCha8Rng) {
    sleep(Duration::from_millis(random.random_range(0..PAUSE_MS_MAX))).await;
}

/// Reads everything once more: what was acknowledged must still be there.
pub async fn read_all(world: &World) {
    let http = Http::new(1, CALL_TIME_MAX);
    for from in (0..keys(world)).step_by(WINDOW as usize) {
        let steps = vec![Step::Range { from, to: from + WINDOW - 1 }];
        let transaction = Random { id: world.next_id(), steps, fail: false };
        let start = world.micros();
        let args = json!({ "steps": transaction.steps() });
        match clients::ask_any(world, &http, "lists:observe", args).await {
            Ok(value) => transaction.note(world, "the judge", start, Outcome::Committed, Some(&value)),
            Err(error) => {
                fail(world, Promise::NothingLost, format!("the lists from {from} can't be read: {error}"))
            }
        }
    }
}
