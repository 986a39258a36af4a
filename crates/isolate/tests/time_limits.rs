//! The limit of processor time: it ends what is over it, wherever that is, and nothing else.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use isolate::*;
use support::*;

const FUNCTIONS: &str = r#"
export const fine = query(async () => (await operation("echo", { fine: true })).fine);
export const loop = query(() => { for (;;); });
export const spin = query((ctx, { rounds }) => { let sum = 0; for (let i = 0; i < rounds; i++) sum += i; return sum; });
export const ask = query((ctx, { name, rounds }) => { for (let i = 0; i < rounds; i++) syscall(name, {}); return rounds; });
export const askForEver = query(() => { for (;;) syscall("echo", {}); });

export const sparseIndexOf = query(() => { const a = []; a[4294967294] = 1; for (;;) a.indexOf(2); });
export const indexOfLength = query(() => Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1));
export const stringSearch = query(() => { const s = "a".repeat(4_000_000), t = "a".repeat(2_000_000) + "b"; for (;;) s.indexOf(t); });
export const replaceAll = query(() => { const s = "ab".repeat(500_000); for (;;) s.replaceAll("b", "c"); });
export const regularExpressionSearch = query(() => { const s = "a".repeat(200_000); for (;;) s.search(/(a*)*b/); });
export const bigIntText = query(() => { const n = 7n ** 200_000n; for (;;) n.toString(); });
export const bigIntDivision = query(() => { const n = 7n ** 200_000n, m = 3n ** 100_000n; for (;;) n % m; });
export const typedSort = query(() => { const a = new Float64Array(1_000_000); for (;;) { for (let i = 0; i < a.length; i += 7) a[i] = -i; a.sort(); } });
export const localeCompare = query(() => { const s = "é".repeat(500_000), t = s + "a"; for (;;) s.localeCompare(t + "b"); });
export const formatters = query(() => { for (let i = 0; ; i++) new Intl.DateTimeFormat("de", { month: "long", timeZone: i % 2 ? "UTC" : "Asia/Tokyo", [i]: i }); });
export const collator = query(() => { const { compare } = new Intl.Collator("de"), s = "é".repeat(500_000); for (;;) compare(s, `${s}a`); });
export const segmenter = query(() => { const s = "สวัสดี".repeat(100_000); for (;;) new Intl.Segmenter("th", { granularity: "word" }).segment(s); });
export const parse = query(() => { const text = JSON.stringify(Array.from({ length: 100_000 }, (_, i) => i)); for (;;) JSON.parse(text); });
// What the host computes has no polls.
export const derive = query(async () => {
  const secret = await crypto.subtle.importKey("raw", new Uint8Array(9), "PBKDF2", false, ["deriveBits"]);
  const algorithm = { name: "PBKDF2", hash: "SHA-512", salt: new Uint8Array(8), iterations: 100_000_000 };
  try { await crypto.subtle.deriveBits(algorithm, secret, 512); } catch (error) { return error.name; }
});
export const generate = action(async () => {
  const algorithm = { name: "RSA-PSS", hash: "SHA-1", modulusLength: 4096, publicExponent: new Uint8Array([1, 0, 1]) };
  for (;;) { try { await crypto.subtle.generateKey(algorithm, true, ["sign"]); } catch (error) { return error.name; } }
});
// No JavaScript runs in these: each conversion to a string makes two of the next object.
export const nativeRecursion = query(() => {
  let o = {};
  for (let i = 0; i < 40; i++) {
    o = { toString: Reflect.construct.bind(null, String, [o]), valueOf: String.prototype.concat.bind("", o) };
  }
  return `${o}`;
});
"#;

#[test]
fn native_loops_and_recursion_end_in_time() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for export in [
            "sparseIndexOf",
            "indexOfLength",
            "stringSearch",
            "replaceAll",
            "regularExpressionSearch",
            "bigIntText",
            "bigIntDivision",
            "typedSort",
            "localeCompare",
            "formatters",
            "collator",
            "segmenter",
            "parse",
            "nativeRecursion",
            "askForEver",
        ] {
            // That it ended is what counts; how long after its limit depends on what else the machine does.
            time_out(&mut slot, export, query_of(export, "[{}]"));
        }
    });
}

/// Runs what its limit must end, and sees that the slot is as good as before. What it was charged.
fn time_out(slot: &mut Slot, export: &str, mut invocation: Invocation<'_>) -> Duration {
    invocation.limits.user_time_ms_max = 150;
    assert_eq!(kill_reason(slot, &invocation), KillReason::TimedOut { limit_ms: 150 }, "{export}");
    let used = slot.observations().user_time;
    assert!(used >= Duration::from_millis(150), "{export} was charged {used:?}");
    assert_eq!(value(slot, &query_of("fine", "[{}]")), "true", "after {export}");
    used
}

#[test]
fn what_the_host_computes_ends_in_time() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for (export, kind) in [("derive", FunctionKind::Query), ("generate", FunctionKind::Action)] {
            // Of a processor, so it does not depend on what else the machine does; the whole derivation would take a minute.
            let used = time_out(&mut slot, export, Invocation { kind, ..query_of(export, "[{}]") });
            assert!(used < Duration::from_secs(10), "{export} held its thread for {used:?}");
        }
    });
}

#[test]
fn a_function_without_time_does_not_run() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut invocation = query_of("fine", "[{}]");
        invocation.limits.user_time_ms_max = 0;
        assert_eq!(kill_reason(&mut slot, &invocation), KillReason::TimedOut { limit_ms: 0 });
        assert_eq!(value(&mut slot, &query_of("fine", "[{}]")), "true");
    });
}

/// Lets the other threads end when one of them does, also by a panic.
struct EndsAll(Arc<AtomicUsize>);

impl Drop for EndsAll {
    fn drop(&mut self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }
}

/// Threads end functions by the hundred while others run functions that must not end so, right after and beside them.
#[test]
fn no_function_is_ended_in_place_of_another() {
    let image = image(FUNCTIONS);
    // How many threads have seen enough of both ends; they go on until all have, so that all the while they disturb each
    // other.
    let satisfied = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (image, satisfied) = (Arc::clone(&image), Arc::clone(&satisfied));
            let work = move || {
                let _ends_all = EndsAll(Arc::clone(&satisfied));
                let mut slot = Slot::new(&image).expect("a slot");
                let (mut ended, mut returned) = (0_u32, 0_u32);
                let mut is_satisfied = false;
                let mut rounds = 100_000;
                while satisfied.load(Ordering::Relaxed) < 2 {
                    if number % 2 == 0 {
                        // Ends about when the limit does, so that the two race.
                        let arguments = format!(r#"[{{"rounds":{rounds}}}]"#);
                        let mut invocation = query_of("spin", &arguments);
                        invocation.limits.user_time_ms_max = 5;
                        match run(&mut slot, &invocation) {
                            Step::Done(Ok(_)) => (rounds, returned) = (rounds + rounds / 8, returned + 1),
                            Step::Killed(KillReason::TimedOut { limit_ms: 5 }) => {
                                (rounds, ended) = (rounds - rounds / 8, ended + 1);
                            }
                            other => panic!("{other:?}"),
                        }
                        if ended > 50 && returned > 50 && !is_satisfied {
                            is_satisfied = true;
                            satisfied.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    for _ in 0..20 {
                        assert_eq!(value(&mut slot, &query_of("fine", "[{}]")), "true");
                        slot.reset().expect("it resets");
                    }
                }
            };
            thread_builder("test").spawn(work).expect("a thread")
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}

/// A host whose answers take time.
struct SlowHost {
    image: Arc<Image>,
}

impl SyncHost for SlowHost {
    fn syscall(&mut self, operation: &str, _arguments: &str) -> Result<String, SyscallError> {
        match operation {
            "echo" => {}
            "sleep" => std::thread::sleep(Duration::from_millis(300)),
            "work" => {
                let started = thread_time();
                while thread_time() - started < Duration::from_millis(300) {}
            }
            "nest" => {
                let mut slot = Slot::new(&self.image).expect("a slot");
                let mut invocation = query_of("loop", "[{}]");
                invocation.limits.user_time_ms_max = 300;
                assert_eq!(kill_reason(&mut slot, &invocation), KillReason::TimedOut { limit_ms: 300 });
            }
            "panic" => panic!("the host panics, as the test wants it"),
            other => return Err(SyscallError::new(other)),
        }
        Ok("null".into())
    }

    fn log(&mut self, _line: ConsoleLine) {}
}

fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What a call of `ask` was charged, and the processor time that its thread used meanwhile.
fn ask(
    slot: &mut Slot,
    host: &mut SlowHost,
    name: &str,
    rounds: u32,
    limit_ms: u64,
) -> (Step, Duration, Duration) {
    let arguments = format!(r#"[{{"name":"{name}","rounds":{rounds}}}]"#);
    let mut invocation = query_of("ask", &arguments);
    invocation.limits.user_time_ms_max = limit_ms;
    let started = thread_time();
    let step = slot.start(&invocation, host).expect("it starts");
    (step, slot.observations().user_time, thread_time() - started)
}

/// The unit tests of the clock say exactly what is charged; here it is that the machine's clocks are read so. The limits
/// are far, and what is compared can't differ by more than is said, whatever else the machine does.
#[test]
fn the_hosts_work_counts_and_its_waiting_and_other_functions_do_not() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = SlowHost { image: Arc::clone(&image) };
        // The begin of a stay may have been read up to a millisecond before.
        let early = Duration::from_millis(1);
        let (step, charged, used) = ask(&mut slot, &mut host, "sleep", 2, 60_000);
        assert!(matches!(step, Step::Done(Ok(_))), "{step:?}");
        assert!(charged <= used + early, "charged {charged:?} for {used:?}, and it waited 600 ms");
        let (step, charged, used) = ask(&mut slot, &mut host, "nest", 2, 60_000);
        assert!(matches!(step, Step::Done(Ok(_))), "{step:?}");
        let others = Duration::from_millis(600);
        assert!(
            charged + others <= used + early,
            "charged {charged:?} of {used:?}, of which 600 ms were others'"
        );
        // The host is not interrupted; the function is, when it gets the answer.
        let (step, charged, _) = ask(&mut slot, &mut host, "work", 1000, 100);
        assert!(matches!(step, Step::Killed(KillReason::TimedOut { limit_ms: 100 })), "{step:?}");
        assert!(charged >= Duration::from_millis(300), "charged {charged:?}");
        assert_eq!(value(&mut slot, &query_of("fine", "[{}]")), "true");
    });
}

#[test]
fn a_thread_whose_host_panicked_runs_other_slots() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut host = SlowHost { image: Arc::clone(&image) };
        let mut broken = Slot::new(&image).expect("a slot");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            broken.start(&query_of("ask", r#"[{"name":"panic","rounds":1}]"#), &mut host)
        }));
        assert!(panicked.is_err());
        drop(broken);
        let mut slot = Slot::new(&image).expect("a slot");
        let mut invocation = query_of("loop", "[{}]");
        invocation.limits.user_time_ms_max = 50;
        assert_eq!(kill_reason(&mut slot, &invocation), KillReason::TimedOut { limit_ms: 50 });
        assert_eq!(value(&mut slot, &query_of("fine", "[{}]")), "true");
    });
}

#[test]
fn what_is_charged_is_processor_time_also_on_a_loaded_machine() {
    let image = image(FUNCTIONS);
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..std::thread::available_parallelism().map_or(2, usize::from) * 2)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let (charged, used) = on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        value(&mut slot, &query_of("fine", "[{}]"));
        slot.reset().expect("it resets");
        let started = thread_time();
        value(&mut slot, &query_of("spin", r#"[{"rounds":8000000}]"#));
        (slot.observations().user_time, thread_time() - started)
    });
    is_over.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().expect("it only spins");
    }
    // Were it charged what passed on the wall's clock, it would be several times as much. The begin of the stay may have
    // been read up to a millisecond before.
    assert!(charged <= used + Duration::from_millis(1), "charged {charged:?} for {used:?}");
}
