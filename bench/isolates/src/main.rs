//! Prints what a fresh, isolated call costs: `cargo run -p isolates`.
//!
//! *Fresh* is a call in a slot that was reset, with the reset; *warm* is the call alone. Figures of one run are
//! comparable with each other, not with those of another machine.
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

mod bundle;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use isolate::{
    Answer, AsyncOperation, CallLimits, ConsoleLine, Engine, FunctionKind, Image, Invocation, Slot, Step,
    SyncHost, SyscallError, thread_builder,
};

const CALLS: usize = 2_000;

fn main() -> anyhow::Result<()> {
    let started = Instant::now();
    let engine = Engine::new()?;
    println!("engine loaded in {:.1} ms", milliseconds(started.elapsed()));
    println!(
        "{:>8} {:>10} {:>9} | {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "bundle",
        "build ms",
        "image MB",
        "call",
        "cold us",
        "fresh us",
        "p95 us",
        "warm us",
        "reset us",
        "slot us"
    );
    for (name, bytes) in [("70 KB", 70_000), ("2 MB", 2_000_000), ("20 MB", 20_000_000)] {
        let started = Instant::now();
        let image = engine.build_image(bundle::bundle(bytes))?;
        let build = started.elapsed();
        let measured = thread_builder("bench").spawn({
            let image = Arc::clone(&image);
            move || measure(&image)
        })?;
        for row in measured.join().map_err(|_| anyhow::anyhow!("measuring panicked"))?? {
            println!(
                "{name:>8} {:>10.0} {:>9.1} | {:>6} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
                milliseconds(build),
                image.resident_bytes() as f64 / 1e6,
                row.call,
                microseconds(row.cold),
                microseconds(row.fresh),
                microseconds(row.fresh_p95),
                microseconds(row.warm),
                microseconds(row.reset),
                microseconds(row.slot),
            );
        }
    }
    Ok(())
}

/// Medians, but for `fresh_p95`.
struct Row {
    call: &'static str,
    /// The first call in a new slot.
    cold: Duration,
    fresh: Duration,
    fresh_p95: Duration,
    warm: Duration,
    reset: Duration,
    /// Making a slot.
    slot: Duration,
}

fn measure(image: &Arc<Image>) -> anyhow::Result<Vec<Row>> {
    let calls = [
        ("list", FunctionKind::Query, r#"[{"channel":"general","user":"u1"}]"#),
        ("send", FunctionKind::Mutation, r#"[{"channel":"general","author":"u1","body":"hello"}]"#),
    ];
    calls.iter().map(|(call, kind, arguments)| measure_call(image, call, *kind, arguments)).collect()
}

fn measure_call(
    image: &Arc<Image>,
    call: &'static str,
    kind: FunctionKind,
    arguments: &str,
) -> anyhow::Result<Row> {
    let invocation = Invocation {
        module: bundle::ENTRY_POINT,
        export: call,
        kind,
        arguments,
        seed: [2; 32],
        now_ms: 1_800_000_000_000,
        request_id: "",
        limits: CallLimits::default(),
    };
    let mut host = Documents::new();
    let (mut colds, mut slots) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let started = Instant::now();
        let mut slot = Slot::new(image)?;
        slots.push(started.elapsed());
        let started = Instant::now();
        run(&mut slot, &invocation, &mut host)?;
        colds.push(started.elapsed());
    }
    let mut slot = Slot::new(image)?;
    let (mut warms, mut resets, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..CALLS + CALLS / 10 {
        let started = Instant::now();
        run(&mut slot, &invocation, &mut host)?;
        let warm = started.elapsed();
        slot.reset()?;
        let total = started.elapsed();
        // The first tenth lets the slot collect its pages.
        if round >= CALLS / 10 {
            warms.push(warm);
            resets.push(total - warm);
            totals.push(total);
        }
    }
    Ok(Row {
        call,
        cold: quantile(&mut colds, 0.5),
        fresh: quantile(&mut totals, 0.5),
        fresh_p95: quantile(&mut totals, 0.95),
        warm: quantile(&mut warms, 0.5),
        reset: quantile(&mut resets, 0.5),
        slot: quantile(&mut slots, 0.5),
    })
}

fn run(slot: &mut Slot, invocation: &Invocation<'_>, host: &mut Documents) -> anyhow::Result<()> {
    let mut step = slot.start(invocation, host)?;
    loop {
        match step {
            Step::NeedsHost { operations } => {
                let answers =
                    operations.iter().map(|operation| (operation.id, host.answer(operation))).collect();
                step = slot.resume(answers, host)?;
            }
            Step::Done(Ok(_)) => return Ok(()),
            other => bail!("{} ended with {other:?}", invocation.export),
        }
    }
}

/// Answers operations from memory, so that only the isolate is measured.
struct Documents {
    user: String,
    page: String,
}

impl Documents {
    fn new() -> Documents {
        let documents: Vec<String> = (0..20)
            .map(|number| {
                format!(
                    r#"{{"_creationTime":170000000{number}.25,"_id":"m{number:05}","author":"u1","body":"hello, this is message number {number} of the channel","channel":"general","likes":{number}}}"#
                )
            })
            .collect();
        Documents {
            user: r#"{"_creationTime":1700000000.25,"_id":"u1","name":"Ann","email":"ann@example.com"}"#
                .into(),
            page: format!(r#"{{"page":[{}],"isDone":false,"continueCursor":"c"}}"#, documents.join(",")),
        }
    }

    fn answer(&self, operation: &AsyncOperation) -> Answer {
        match operation.name.as_str() {
            "1.0/get" => Ok(self.user.clone().into()),
            "1.0/queryPage" => Ok(self.page.clone().into()),
            "1.0/insert" => Ok(r#"{"_id":"m99999"}"#.into()),
            other => Err(SyscallError::new(format!("Unknown async operation: {other}"))),
        }
    }
}

impl SyncHost for Documents {
    fn syscall(&mut self, operation: &str, _arguments: &str) -> Result<String, SyscallError> {
        Err(SyscallError::new(format!("Unknown operation: {operation}")))
    }

    fn log(&mut self, _line: ConsoleLine) {}
}

fn quantile(durations: &mut [Duration], part: f64) -> Duration {
    durations.sort_unstable();
    let index = (durations.len() as f64 * part) as usize;
    durations.get(index).or(durations.last()).copied().unwrap_or_default()
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}
