//! What is judged when all faults are over and all is settled.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use adya::{History, Opts, Valid, Workload};
use anyhow::{Context as _, Result, bail};
use checker::{Operation, Outcome, Transaction};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::{
    clients::{Answer, CALL_TIME_MAX, Http, ask_any, at},
    conductor::SETTLE_TIME_MAX,
    findings::{Promise, fail, say},
    load::{files, lists, registers},
    nodes::Cluster,
    world::{Place, World},
};

const POLL: Duration = Duration::from_millis(500);
const JOBS_TIME_MAX: Duration = Duration::from_secs(120);
const PAGE: u64 = 200;
/// So much of an anomaly's explanation is shown; the history has the rest.
const EXPLANATION_MAX: usize = 600;
const ADYA_TIME_MAX: Duration = Duration::from_secs(300);
const TABLES: [&str; 8] = ["lists", "registers", "twins", "counters", "answers", "plans", "runs", "kept"];
const SYSTEM_TABLES: [&str; 2] = ["_scheduled_functions", "_storage"];

/// Waits until all have caught up.
pub async fn settle(world: &World, cluster: &mut Cluster) -> Result<()> {
    cluster.look_after().await?;
    let deadline = Instant::now() + SETTLE_TIME_MAX;
    loop {
        let status = cluster.status(&cluster.numbers()).await;
        let wrong = status.map_or_else(|error| Some(format!("{error:#}")), |status| status.unsettled());
        let Some(wrong) = wrong else { return Ok(()) };
        if Instant::now() > deadline {
            fail(world, Promise::Rejoined, format!("not settled at the end: {wrong}"));
            return Ok(());
        }
        sleep(POLL).await;
    }
}

pub async fn judge(world: &World, cluster: &mut Cluster) -> Result<()> {
    lists::read_all(world).await;
    registers::read_all(world).await;
    judge_lists(world);
    judge_registers(world);
    judge_counters(world).await;
    judge_files(world).await;
    judge_jobs(world).await?;
    compare_replicas(world).await?;
    cluster.look_after().await
}

fn judge_lists(world: &World) {
    let transactions = world.lists.all();
    let acknowledged = transactions.iter().filter(|it| it.outcome == Outcome::Committed).count();
    world.findings.checked(Promise::NothingLost, acknowledged as u64);
    by_checker(world, Promise::ListsSerializable, &transactions);
    let ops = transactions.iter().map(|it| {
        let values = it.operations.iter().map(|operation| match operation {
            Operation::Read { key, values } => json!(["r", key, values]),
            Operation::Append { key, value } => json!(["append", key, value]),
        });
        let kind = match it.outcome {
            Outcome::Committed => "ok",
            Outcome::Failed => "fail",
            Outcome::Unknown => "info",
        };
        Op { start: it.start, end: it.end, kind, values: values.collect() }
    });
    by_adya(world, Promise::ListsByAdya, ops.collect(), Workload::ListAppend);
}

fn by_checker(world: &World, promise: Promise, transactions: &[Transaction]) {
    world.findings.checked(promise, transactions.len() as u64);
    match checker::judge(transactions) {
        Ok(summary) => {
            let checker::Summary { committed, failed, unknown, dependencies } = summary;
            let text = format!(
                "{committed} committed, {failed} failed, {unknown} unknown, {dependencies} dependencies"
            );
            world.findings.detail(promise, text);
        }
        Err(violation) => fail(world, promise, violation.to_string()),
    }
}

struct Op {
    start: u64,
    end: Option<u64>,
    kind: &'static str,
    /// As they were answered.
    values: Vec<Json>,
}

/// In the order of time; each transaction is a process of its own, so that only time orders them.
fn by_adya(world: &World, promise: Promise, ops: Vec<Op>, workload: Workload) {
    world.findings.checked(promise, ops.len() as u64);
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (process, op) in ops.iter().enumerate() {
        events.push((op.start, false, process));
        events.push((op.end.unwrap_or(u64::MAX), true, process));
    }
    events.sort_unstable();
    let mut text = String::new();
    for (index, (_, is_end, process)) in events.iter().enumerate() {
        let op = &ops[*process];
        let is_answered = *is_end && op.kind == "ok";
        let values: Vec<Json> =
            op.values.iter().map(|value| if is_answered { value.clone() } else { asked(value) }).collect();
        let kind = if *is_end { op.kind } else { "invoke" };
        text += &json!({ "index": index, "type": kind, "process": process, "value": values }).to_string();
        text.push('\n');
    }
    let history = match History::from_json(&text) {
        Ok(history) => history,
        Err(error) => return fail(world, promise, format!("adya can't read the history: {error}")),
    };
    let options = Opts { timeout: ADYA_TIME_MAX, wfr_keys: true, ..Opts::default() };
    let report = adya::check(&history, workload, &options);
    if report.valid != Valid::True {
        let first = report
            .anomalies
            .values()
            .flatten()
            .next()
            .map(|anomaly| anomaly.explanation.chars().take(EXPLANATION_MAX).collect::<String>());
        fail(
            world,
            promise,
            format!("{:?}: {:?}: {}", report.valid, report.anomaly_types, first.unwrap_or_default()),
        );
    }
}

/// A read as it was sent.
fn asked(value: &Json) -> Json {
    if value[0] == "r" { json!(["r", value[1], null]) } else { value.clone() }
}

/// Each write has read what it replaces, so that a register's values are the ends of a list that grows.
fn judge_registers(world: &World) {
    let transactions = world.registers.all();
    let unanswered = transactions.iter().filter(|it| it.end.is_none()).count();
    let mut registers = Registers::default();
    for access in transactions.iter().filter(|it| it.end.is_some()).flat_map(|it| &it.accesses) {
        if let Some(written) = &access.written
            && registers.before.insert((access.key, written.clone()), access.read.clone()).is_some()
        {
            fail(world, Promise::RegistersSerializable, format!("{written:?} was written twice"));
        }
    }
    let mut as_lists = Vec::new();
    for it in &transactions {
        let mut operations = Vec::new();
        for access in &it.accesses {
            let append = access.written.clone().map(|value| Operation::Append { key: access.key, value });
            if it.end.is_some() {
                let Some(values) = registers.list(access.key, access.read.as_deref()) else {
                    if unanswered == 0 {
                        let text =
                            format!("{} read {:?} of {}, which nobody wrote", it.id, access.read, access.key);
                        fail(world, Promise::RegistersSerializable, text);
                    }
                    continue;
                };
                operations.push(Operation::Read { key: access.key, values });
            }
            operations.extend(append);
        }
        let outcome = if it.end.is_some() { Outcome::Committed } else { Outcome::Unknown };
        as_lists.push(Transaction { id: it.id, start: it.start, end: it.end, outcome, operations });
    }
    if unanswered == 0 {
        by_checker(world, Promise::RegistersSerializable, &as_lists);
    } else {
        // What they wrote can't be told from what nobody wrote.
        fail(
            world,
            Promise::RegistersSerializable,
            format!("{unanswered} writes have no answer, so it can't be judged"),
        );
    }
    let ops = transactions.iter().map(|it| {
        let values = it.accesses.iter().flat_map(|access| {
            let write = access.written.as_ref().map(|value| json!(["w", access.key, value]));
            [Some(json!(["r", access.key, access.read])), write].into_iter().flatten()
        });
        let kind = if it.end.is_some() { "ok" } else { "info" };
        Op { start: it.start, end: it.end, kind, values: values.collect() }
    });
    by_adya(world, Promise::RegistersByAdya, ops.collect(), Workload::RwRegister);
}

/// What was written to which register.
#[derive(Default)]
struct Registers {
    /// By key and value, what the write of it has read.
    before: HashMap<(u64, String), Option<String>>,
    /// The same, with all values from the first on.
    lists: HashMap<(u64, String), Vec<String>>,
}

impl Registers {
    /// All values of a key up to this one, if all their writes are known.
    fn list(&mut self, key: u64, value: Option<&str>) -> Option<Vec<String>> {
        let mut newer: Vec<String> = Vec::new();
        let mut at = value.map(str::to_owned);
        let mut list = Vec::new();
        while let Some(value) = at {
            let place = (key, value);
            if let Some(known) = self.lists.get(&place) {
                list.clone_from(known);
                break;
            }
            at = self.before.get(&place)?.clone();
            newer.push(place.1);
            // More than there are: they go round.
            if newer.len() > self.before.len() {
                return None;
            }
        }
        list.extend(newer.into_iter().rev());
        if let Some(value) = value {
            self.lists.insert((key, value.to_owned()), list.clone());
        }
        Some(list)
    }
}

async fn judge_counters(world: &World) {
    let http = Http::new(1, CALL_TIME_MAX);
    let counted = world.counted.lock().expect("nobody panics with it").clone();
    for (owner, told, untold) in counted {
        let count = match ask_any(world, &http, "counters:counted", json!({ "owner": owner })).await {
            Ok(count) => count.as_f64().unwrap_or(-1.0) as u64,
            Err(error) => {
                fail(world, Promise::NothingLost, format!("the counter of {owner} can't be read: {error}"));
                continue;
            }
        };
        world.findings.checked(Promise::NothingLost, told);
        if count < told {
            fail(
                world,
                Promise::NothingLost,
                format!("{owner} was told {told} times that it counted, and {count} are there"),
            );
        }
        // The official client's are all answered, each once.
        if owner.starts_with("viewer") && !(told..=told + untold).contains(&count) {
            fail(
                world,
                Promise::ExactlyOnce,
                format!("{owner} was answered {told} times, and counted {count} times"),
            );
        }
    }
}

async fn judge_files(world: &World) {
    let http = Http::new(1, CALL_TIME_MAX);
    let kept = world.files.lock().expect("nobody panics with it").clone();
    for (number, (name, seed)) in kept.iter().enumerate() {
        world.findings.checked(Promise::Files, 1);
        let url = match ask_any(world, &http, "files:url", json!({ "name": name })).await {
            Ok(Json::String(url)) => url,
            other => {
                fail(world, Promise::Files, format!("{name} has no address: {other:?}"));
                continue;
            }
        };
        let places = world.places();
        let mut last = String::new();
        for attempt in 0..5 {
            match http.download(&at(places[(number + attempt) % places.len()], &url)).await {
                Ok((200, bytes)) if bytes == files::content(*seed) => {
                    last.clear();
                    break;
                }
                Ok((200, bytes)) => last = format!("{} bytes that are not those of the upload", bytes.len()),
                Ok((status, _)) => last = format!("status {status}"),
                Err(error) => last = error.to_string(),
            }
            sleep(POLL).await;
        }
        if !last.is_empty() {
            fail(world, Promise::Files, format!("{name} can't be read: {last}"));
        }
    }
}

async fn judge_jobs(world: &World) -> Result<()> {
    let http = Http::new(1, CALL_TIME_MAX);
    let deadline = Instant::now() + JOBS_TIME_MAX;
    let jobs = loop {
        let jobs = table(world, &http, world.places()[0], "_scheduled_functions", None).await?;
        let waiting = jobs.iter().filter(|job| matches!(state(job), "pending" | "inProgress")).count();
        if waiting == 0 {
            break jobs;
        }
        if Instant::now() > deadline {
            fail(world, Promise::JobsOnce, format!("{waiting} jobs have not run after {JOBS_TIME_MAX:?}"));
            break jobs;
        }
        sleep(POLL).await;
    };
    let states: HashMap<&str, &str> =
        jobs.iter().map(|job| (job["_id"].as_str().unwrap_or_default(), state(job))).collect();
    let plans = table(world, &http, world.places()[0], "plans", None).await?;
    let runs = table(world, &http, world.places()[0], "runs", None).await?;
    let mut ran: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for run in &runs {
        *ran.entry((text(run, "name"), text(run, "kind"))).or_default() += 1;
    }
    let names: HashSet<&str> = plans.iter().map(|plan| text(plan, "name")).collect();
    let mut actions_lost = 0;
    for plan in &plans {
        let name = text(plan, "name");
        let mutations = ran.remove(&(name, "mutation")).unwrap_or_default();
        let actions = ran.remove(&(name, "action")).unwrap_or_default();
        world.findings.checked(Promise::JobsOnce, 2);
        if mutations != 1 {
            let state = states.get(text(plan, "mutation"));
            fail(
                world,
                Promise::JobsOnce,
                format!("the mutation of {name} ran {mutations} times, its job says {state:?}"),
            );
        }
        let state = states.get(text(plan, "action")).copied().unwrap_or("nothing");
        actions_lost += u64::from(actions == 0);
        if actions > 1 || (actions == 0 && state == "success") {
            fail(
                world,
                Promise::JobsOnce,
                format!("the action of {name} ran {actions} times, its job says {state}"),
            );
        }
    }
    for (name, kind) in ran.keys() {
        fail(world, Promise::JobsOnce, format!("a {kind} ran for {name}, which nobody planned"));
    }
    let acknowledged = world.plans.lock().expect("nobody panics with it").clone();
    world.findings.checked(Promise::NothingLost, acknowledged.len() as u64);
    for name in acknowledged.iter().filter(|name| !names.contains(name.as_str())) {
        fail(world, Promise::NothingLost, format!("{name} was acknowledged, and is not there"));
    }
    world.findings.detail(Promise::JobsOnce, format!("{actions_lost} actions did not run"));
    Ok(())
}

fn state(job: &Json) -> &str {
    job["state"]["kind"].as_str().unwrap_or_default()
}

fn text<'a>(document: &'a Json, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_default()
}

/// Reads all that there is, of one moment, at each node.
async fn compare_replicas(world: &World) -> Result<()> {
    let http = Http::new(1, CALL_TIME_MAX);
    let places = world.places();
    let (status, answer) = http.post(&format!("{}/api/query_ts", places[0].api()), &json!({})).await?;
    if status != 200 {
        bail!("the newest moment can't be had: {status} {answer}");
    }
    let mut documents = 0;
    for name in TABLES.iter().chain(&SYSTEM_TABLES) {
        let mut first: Option<Vec<Json>> = None;
        for place in &places {
            let here = table(world, &http, *place, name, Some(&answer["ts"])).await?;
            world.findings.checked(Promise::ReplicasEqual, 1);
            let Some(first) = &first else {
                documents += here.len();
                first = Some(here);
                continue;
            };
            if *first != here {
                let differing = first.iter().zip(&here).find(|(one, other)| one != other);
                let text = format!(
                    "{name} at nodes {} and {}: {} and {} documents, differing first in {differing:?}",
                    places[0].node,
                    place.node,
                    first.len(),
                    here.len()
                );
                fail(world, Promise::ReplicasEqual, text);
            }
        }
    }
    world.findings.detail(Promise::ReplicasEqual, format!("{documents} documents at {} nodes", places.len()));
    Ok(())
}

/// All documents of a table, at a moment or now.
async fn table(
    world: &World,
    http: &Http,
    place: Place,
    name: &str,
    moment: Option<&Json>,
) -> Result<Vec<Json>> {
    let path = if name.starts_with('_') { "state:systemPage" } else { "state:page" };
    let mut cursor = Json::Null;
    let mut all = Vec::new();
    loop {
        let args = json!({ "table": name, "paginationOpts": { "numItems": PAGE, "cursor": cursor } });
        let mut body = json!({ "path": path, "args": args, "format": "json" });
        let kind = match moment {
            Some(moment) => {
                body["ts"] = moment.clone();
                "query_at_ts"
            }
            None => "query",
        };
        let mut last = None;
        for _ in 0..20 {
            match http.call(place, kind, &body).await {
                Answer::Value(page) => {
                    last = Some(Ok(page));
                    break;
                }
                other => last = Some(Err(other)),
            }
            sleep(POLL).await;
        }
        let page = match last.context("it is asked at least once")? {
            Ok(page) => page,
            Err(answer) => {
                fail(
                    world,
                    Promise::ReplicasEqual,
                    format!("{name} can't be read at node {}: {answer:?}", place.node),
                );
                return Ok(all);
            }
        };
        all.extend(page["page"].as_array().into_iter().flatten().cloned());
        if page["isDone"] == true {
            return Ok(all);
        }
        cursor = page["continueCursor"].clone();
    }
}

/// A panic is a defect, whatever happened to the machine.
pub fn read_logs(world: &World, cluster: &Cluster) -> Result<()> {
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    for (path, log) in cluster.logs()? {
        for line in log.lines() {
            if line.contains("panicked at") {
                fail(world, Promise::Processes, format!("{}: {line}", path.display()));
            }
            if let Some((_, message)) = line.split_once(" ERROR ") {
                *errors.entry(shortened(message)).or_default() += 1;
            }
        }
    }
    for (message, times) in errors {
        say(world, format_args!("{times} times in the logs: ERROR {message}"));
    }
    Ok(())
}

/// Without numbers, so that lines of one kind are one.
fn shortened(message: &str) -> String {
    message.chars().map(|it| if it.is_ascii_digit() { '#' } else { it }).take(160).collect()
}
