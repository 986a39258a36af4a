//! Functions that mean harm, or mean well and get lost: each ends for the right reason, and the next call on the same
//! slot works.

mod support;

use isolate::*;
use support::*;

const FUNCTIONS: &str = r#"
export const fine = query(async () => (await operation("echo", { fine: true })).fine);

export const loop = query(() => { for (;;); });
export const promiseLoop = query(async () => { for (;;) await null; });
export const thenLoop = query(() => new Promise(() => { const again = () => Promise.resolve().then(again); again(); }));
export const regularExpression = query(() => /^(a+)+$/.test("a".repeat(40) + "b"));
export const bigInt = query(() => { let n = 3n; for (;;) n = n * n; });
export const bigIntProducts = query(() => { const n = (1n << 400_000n) - 1n; for (;;) (n * n) === n; });
export const sort = query(() => { const a = Array.from({ length: 100000 }, (_, i) => i); for (;;) a.sort(() => Math.random() - 0.5); });
export const catchAll = query(() => { for (;;) try { for (;;); } catch {} });
export const finallyLoop = query(() => { try { for (;;); } finally { for (;;); } });

export const allocate = query(() => { const list = []; for (;;) list.push({ list: [list.length] }); });
export const stringGrowth = query(() => { let s = "x"; for (;;) s += s; });
export const concatenation = query(() => { let s = ""; for (;;) s = s + "abcdefgh" + s.length; });
export const hugeArray = query(() => new Array(4294967295).fill(0));
export const hugeBuffer = query(() => new ArrayBuffer(2000000000).byteLength);
export const manyBuffers = query(() => { const list = []; for (;;) list.push(new Uint8Array(1 << 20)); });
export const joined = query(() => new Array(30000000).join("abcdefgh").length);
export const catchMemory = query(() => { const list = []; for (;;) try { for (;;) list.push(new Array(1000).fill(1)); } catch {} });

export const recursion = query(() => { const f = (n) => f(n + 1) + 1; return f(0); });
export const deepJson = query(() => JSON.parse("[".repeat(3000000)));
export const deepObject = query(() => { let o = {}; for (let i = 0; i < 1000000; i++) o = { o }; return JSON.stringify(o); });
export const deepRegularExpression = query(() => new RegExp("(".repeat(500000) + ")".repeat(500000)).test("x"));
export const deepSource = query(() => (0, eval)("(".repeat(500000) + ")".repeat(500000)));
export const toStringLoop = query(() => { const o = { toString() { return `${o}`; } }; return `${o}`; });
export const getterLoop = query(() => { const o = { get a() { return o.a; } }; return o.a; });
export const proxyChain = query(() => { let p = {}; for (let i = 0; i < 200000; i++) p = new Proxy(p, {}); return p.x; });
export const bindChain = query(() => { let f = () => 1; for (let i = 0; i < 200000; i++) f = f.bind(null); return f(); });
export const caughtRecursion = query(() => {
  let depth = 0;
  const f = () => { depth++; f(); };
  try { f(); } catch (error) { return [error instanceof RangeError, depth]; }
});

export const neverResolves = query(() => new Promise(() => {}));
export const noise = query(() => { for (let i = 0; i < 100000; i++) console.log("x".repeat(100)); return 1; });
"#;

/// Runs each function between two that must work.
fn each(user_time_ms_max: u64, functions: &'static [&'static str], is_right: fn(&Step) -> bool) {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for export in functions {
            let mut invocation = query_of(export, "[{}]");
            invocation.limits.user_time_ms_max = user_time_ms_max;
            let step = run(&mut slot, &invocation);
            assert!(is_right(&step), "{export}: {step:?}");
            assert_eq!(value(&mut slot, &query_of("fine", "[{}]")), "true", "after {export}");
        }
    });
}

#[test]
fn endless_work_times_out() {
    each(
        300,
        &["loop", "promiseLoop", "regularExpression", "sort", "catchAll", "finallyLoop", "bigIntProducts"],
        |step| matches!(step, Step::Killed(KillReason::TimedOut { limit_ms: 300 })),
    );
}

#[test]
fn endless_allocation_runs_out_of_memory() {
    each(20_000, &["allocate", "hugeBuffer", "manyBuffers", "joined", "catchMemory"], |step| {
        matches!(step, Step::Killed(KillReason::OutOfMemory { limit_bytes: 67_108_864 }))
    });
}

#[test]
fn what_hits_a_limit_of_the_engine_first_is_an_error_or_ends() {
    each(
        1_000,
        &[
            "bigInt",
            "stringGrowth",
            "concatenation",
            "hugeArray",
            "thenLoop",
            "deepJson",
            "deepObject",
            "bindChain",
            "deepSource",
            "deepRegularExpression",
        ],
        |step| {
            matches!(
                step,
                Step::Killed(
                    KillReason::OutOfMemory { .. } | KillReason::TimedOut { .. } | KillReason::StackOverflow
                ) | Step::Done(Err(_))
            )
        },
    );
}

#[test]
fn endless_recursion_is_an_error_that_can_be_caught() {
    each(
        20_000,
        &["recursion", "toStringLoop", "getterLoop", "proxyChain"],
        |step| matches!(step, Step::Done(Err(error)) if error.name == "RangeError"),
    );
}

#[test]
fn ten_thousand_plain_frames_fit() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let result = value(&mut slot, &query_of("caughtRecursion", "[{}]"));
        let (is_range_error, depth): (bool, u32) = serde_json::from_str(&result).expect("a pair");
        assert!(is_range_error);
        assert!(depth >= 10_000, "only {depth} frames");
    });
}

#[test]
fn a_promise_that_nobody_can_settle_ends_the_call() {
    each(300, &["neverResolves"], |step| matches!(step, Step::Killed(KillReason::NeverResolves)));
}

#[test]
fn a_flood_of_console_lines_is_cut() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let step = run_with(&mut slot, &query_of("noise", "[{}]"), &mut host);
        assert!(matches!(step, Step::Done(Ok(_))), "{step:?}");
        assert_eq!(host.lines.len(), 256);
    });
}
