//! Registers, written over gRPC by mutations with keys: each is sent again, to any node, until it is answered, and now and then once
//! more after that. So at the end it is known of each what it did.

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{
    clients::{self, CALL_TIME_MAX, Http},
    findings::{Promise, fail},
    grpc::{
        self, Connections,
        deployment::{IdempotencyKey, MutationRequest, QueryBatchRequest, QueryRequest},
    },
    world::World,
};

const WINDOW: u64 = 5;
const TRANSACTIONS_PER_KEY: u64 = 40;
const PAUSE_MS_MAX: u64 = 60;
const RETRY: Duration = Duration::from_millis(150);
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(4);
/// All faults are shorter.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Serialize)]
pub struct Transaction {
    pub id: u64,
    pub start: u64,
    /// None: no answer came.
    pub end: Option<u64>,
    pub accesses: Vec<Access>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Access {
    pub key: u64,
    /// What was there before.
    pub read: Option<String>,
    pub written: Option<String>,
}

struct Caller {
    world: Arc<World>,
    number: u64,
    random: ChaCha8Rng,
    connections: Connections,
    session: Uuid,
    requests: u32,
    /// The newest moment that it was told.
    newest: u64,
}

pub async fn call(world: Arc<World>, number: u64) {
    let random = world.random("registers", number);
    let session = Uuid::new_v4();
    let mut caller = Caller {
        world,
        number,
        random,
        connections: Connections::default(),
        session,
        requests: 0,
        newest: 0,
    };
    while !caller.world.is_over() {
        match caller.random.random_range(0..10) {
            0..6 => caller.write().await,
            6..8 => caller.read().await,
            _ => caller.look_at_twins().await,
        }
        let pause = caller.random.random_range(0..PAUSE_MS_MAX);
        sleep(Duration::from_millis(pause)).await;
    }
}

impl Caller {
    /// Some keys, each once.
    fn keys(&mut self, id: u64) -> Vec<u64> {
        let first = id / TRANSACTIONS_PER_KEY;
        let mut keys: Vec<u64> = (0..WINDOW).map(|offset| first + offset).collect();
        while keys.len() > self.random.random_range(1..=3) {
            let position = self.random.random_range(0..keys.len());
            keys.swap_remove(position);
        }
        keys
    }

    async fn write(&mut self) {
        let id = self.world.next_id();
        let keys = self.keys(id);
        let mut written: Vec<Option<String>> = (0..keys.len())
            .map(|number| self.random.random_bool(0.6).then(|| format!("{id}.{number}")))
            .collect();
        if written.iter().all(Option::is_none) {
            written[0] = Some(format!("{id}.0"));
        }
        let request_id = self.requests;
        self.requests += 1;
        let key = IdempotencyKey { session_id: self.session.to_string(), request_id };
        let args = json!({ "keys": keys, "written": written });
        let request =
            MutationRequest { call: grpc::call("registers:write", args), idempotency_key: Some(key) };
        let start = self.world.micros();
        let answer = self.send(&request).await;
        let end = answer.as_ref().map(|_| self.world.micros());
        let reads = answer.as_ref().map(|(_, value)| value.clone());
        let accesses = keys.iter().zip(written).enumerate().map(|(position, (key, written))| {
            let read = reads.as_ref().and_then(|reads| reads[position].as_str().map(str::to_owned));
            Access { key: *key, read, written }
        });
        self.world.registers.add(Transaction { id, start, end, accesses: accesses.collect() });
        self.world.did_operation();
        let Some((moment, value)) = answer else { return };
        // A commit that begins later than an answer is later.
        self.told(moment, "a mutation");
        if self.random.random_bool(0.1)
            && let Some(again) = self.send(&request).await
        {
            self.world.findings.checked(Promise::ExactlyOnce, 1);
            if again != (moment, value.clone()) {
                let text = format!(
                    "{}/{request_id} was answered by {moment} {value}, and then by {again:?}",
                    self.session
                );
                fail(&self.world, Promise::ExactlyOnce, text);
            }
        }
    }

    /// The answer's moment and value.
    async fn send(&mut self, request: &MutationRequest) -> Option<(u64, Json)> {
        let sending = async {
            loop {
                let place = self.world.some_place(&mut self.random);
                let mut client = self.connections.client(place);
                let call = client.mutation(grpc::in_time(request.clone(), ATTEMPT_TIME_MAX));
                match timeout(ATTEMPT_TIME_MAX, call).await {
                    Ok(Ok(answer)) => {
                        let answer = answer.into_inner();
                        return match (answer.timestamp, grpc::returned(answer.result)) {
                            (Some(moment), Ok(Ok(value))) => Ok((moment, value)),
                            other => Err(format!("a keyed mutation was answered by {other:?}")),
                        };
                    }
                    Ok(Err(status)) if grpc::is_temporary(&status) => self.connections.forget(place),
                    Ok(Err(status)) => return Err(format!("a keyed mutation was refused: {status}")),
                    Err(_) => self.connections.forget(place),
                }
                sleep(RETRY).await;
            }
        };
        let answer = timeout(ANSWER_TIME_MAX, sending)
            .await
            .unwrap_or_else(|_| Err(format!("a keyed mutation has no answer after {ANSWER_TIME_MAX:?}")));
        self.world.findings.checked(Promise::Answered, 1);
        match answer {
            Ok(answer) => Some(answer),
            Err(text) => {
                fail(&self.world, Promise::Answered, text);
                None
            }
        }
    }

    async fn read(&mut self) {
        let id = self.world.next_id();
        let keys = self.keys(id);
        let request =
            QueryRequest { call: grpc::call("registers:read", json!({ "keys": keys })), at_timestamp: None };
        let place = self.world.some_place(&mut self.random);
        let start = self.world.micros();
        let mut client = self.connections.client(place);
        let answer = timeout(CALL_TIME_MAX, client.query(grpc::in_time(request, CALL_TIME_MAX))).await;
        let Ok(Ok(answer)) = answer else { return self.connections.forget(place) };
        let answer = answer.into_inner();
        let (moment, Ok(Ok(reads))) = (answer.timestamp, grpc::returned(answer.result)) else { return };
        let end = Some(self.world.micros());
        let access = |(position, key): (usize, &u64)| Access {
            key: *key,
            read: reads[position].as_str().map(str::to_owned),
            written: None,
        };
        let accesses = keys.iter().enumerate().map(access).collect();
        self.world.registers.add(Transaction { id, start, end, accesses });
        self.world.did_operation();
        self.told(moment, "a query of the newest state");
    }

    /// Two queries at one moment show both sides alike.
    async fn look_at_twins(&mut self) {
        let side = |side: &str| grpc::call("counters:version", json!({ "side": side }));
        let calls = [side("left"), side("right")].into_iter().flatten().collect();
        let place = self.world.some_place(&mut self.random);
        let mut client = self.connections.client(place);
        let request = grpc::in_time(QueryBatchRequest { calls, at_timestamp: None }, CALL_TIME_MAX);
        let Ok(Ok(answer)) = timeout(CALL_TIME_MAX, client.query_batch(request)).await else {
            return self.connections.forget(place);
        };
        let answer = answer.into_inner();
        self.told(answer.timestamp, "a batch of queries");
        let values: Vec<_> = answer.results.into_iter().map(|result| grpc::returned(Some(result))).collect();
        if let [Ok(Ok(left)), Ok(Ok(right))] = &values[..] {
            self.world.findings.checked(Promise::OneMoment, 1);
            if left != right {
                let text = format!(
                    "a batch at {} shows {left} and {right} at node {}",
                    answer.timestamp, place.node
                );
                fail(&self.world, Promise::OneMoment, text);
            }
        }
        self.world.did_operation();
    }

    fn told(&mut self, moment: u64, by: &str) {
        self.world.findings.checked(Promise::Monotone, 1);
        if moment < self.newest {
            let text = format!("caller {} had seen {}, and {by} is of {moment}", self.number, self.newest);
            fail(&self.world, Promise::Monotone, text);
        }
        self.newest = self.newest.max(moment);
    }
}

/// Reads everything once more.
pub async fn read_all(world: &World) {
    let http = Http::new(1, CALL_TIME_MAX);
    let last = world.ids() / TRANSACTIONS_PER_KEY + WINDOW;
    let all: Vec<u64> = (0..=last).collect();
    for keys in all.chunks(50) {
        let (id, start) = (world.next_id(), world.micros());
        match clients::ask_any(world, &http, "registers:read", json!({ "keys": keys })).await {
            Ok(reads) => {
                let access = |(position, key): (usize, &u64)| Access {
                    key: *key,
                    read: reads[position].as_str().map(str::to_owned),
                    written: None,
                };
                let accesses = keys.iter().enumerate().map(access).collect();
                world.registers.add(Transaction { id, start, end: Some(world.micros()), accesses });
            }
            Err(error) => fail(world, Promise::NothingLost, format!("registers can't be read: {error}")),
        }
    }
}
