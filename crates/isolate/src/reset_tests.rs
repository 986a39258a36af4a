//! After any call, a reset gives the slot exactly the memory of its image.

#[path = "../tests/support/mod.rs"]
mod support;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Invocation, OperationId, Slot, Step};
use support::{TestHost, image, on_thread, query_of, value};

const FUNCTIONS: &str = r#"
const shared = { list: Array.from({ length: 2000 }, (_, i) => ({ i, text: "text " + i })), map: new Map() };
for (const item of shared.list) shared.map.set(item.text, item);

export const scribble = query(async (ctx, { seed, count }) => {
  let state = seed;
  const draw = (below) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % below;
  const kept = (globalThis[`kept${draw(50)}`] = []);
  await operation("echo", {});
  for (let i = 0; i < count; i++) {
    switch (draw(12)) {
      case 0: kept.push({ ["key" + draw(100)]: i, self: kept }); break;
      case 1: { const item = shared.list[draw(2000)]; if (item) item.text += draw(10); break; }
      case 2: shared.map.delete("text " + draw(2000)); break;
      case 3: shared.map.set("new " + draw(100), kept); break;
      case 4: Object.prototype["polluted" + draw(5)] = kept; break;
      case 5: delete globalThis[["Array", "Map", "Math", "fetch", "Blob"][draw(5)] + draw(3)]; break;
      case 6: kept.push(new Uint8Array(draw(100000))); break;
      case 7: kept.push("x".repeat(draw(5000)) + i); break;
      case 8: kept.push(Promise.resolve(i).then((n) => n + 1)); break;
      case 9: shared.list[draw(2000)] = undefined; break;
      case 10: if (draw(20) === 0) await operation("echo", { i }); break;
      case 11: kept.push(/a(b*)c/g.exec("xabbbc"), JSON.stringify(kept.length), eval(`(n) => n + ${draw(9)}`)); break;
    }
  }
  return kept.length;
});
export const recurse = query((ctx, { depth }) => { const f = (n) => (n === 0 ? 0 : 1 + f(n - 1)); return f(depth); });
export const grow = query((ctx, { megabytes }) => { const list = []; for (let i = 0; i < megabytes; i++) list.push(new Uint8Array(1 << 20).fill(i)); return list.length; });
export const spin = query(() => { const list = []; for (let i = 0; ; i++) list[i % 1000] = { i }; });
export const fail = query(() => { throw new Error("x".repeat(10000)); });
export const look = query(() => [shared.list.length, shared.map.size, shared.list[7].text, Object.keys(Object.prototype).length, Object.keys(globalThis).filter((k) => k.startsWith("kept")).length]);
"#;

/// How many calls the test makes at least; it goes on until each kind of end occurred, up to the second number.
const CALLS_MIN: u32 = 200;
const CALLS_MAX: u32 = 4_000;

#[test]
fn after_any_call_the_memory_is_the_images() {
    let seed = match std::env::var("ISOLATE_SEED") {
        Ok(seed) => seed.parse().expect("ISOLATE_SEED is a number"),
        Err(_) => {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs())
        }
    };
    eprintln!("ISOLATE_SEED={seed} cargo test --workspace --lib -- reset_tests");
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut slot = Slot::new(&image).expect("a slot");
        let (mut calls, mut ends) = (0, [0; 4]);
        while calls < CALLS_MIN || ends.contains(&0) {
            calls += 1;
            assert!(calls <= CALLS_MAX, "every kind of end must occur: {ends:?} in {CALLS_MAX} calls");
            let (export, arguments) = match random.next_u32() % 100 {
                0..70 => {
                    let (seed, count) = (random.next_u32(), random.next_u32() % 3000);
                    ("scribble", format!(r#"[{{"seed":{seed},"count":{count}}}]"#))
                }
                70..80 => ("recurse", format!(r#"[{{"depth":{}}}]"#, random.next_u32() % 20_000)),
                80..90 => ("grow", format!(r#"[{{"megabytes":{}}}]"#, random.next_u32() % 80)),
                90..93 => ("spin", "[]".into()),
                _ => ("fail", "[]".into()),
            };
            let mut invocation = query_of(export, &arguments);
            invocation.limits.user_time_ms_max = 1 + u64::from(random.next_u32() % 100);
            let end = run_or_drop(&mut slot, &invocation, &mut random);
            ends[end] += 1;
            slot.reset().expect("it resets");
            assert!(slot.wholly_equals_image(), "call {calls}, {export} {arguments}");
            if calls % 7 == 0 {
                assert_eq!(value(&mut slot, &query_of("look", "[]")), r#"[2000,2000,"text 7",0,0]"#);
                slot.reset().expect("it resets");
                assert!(slot.wholly_equals_image(), "after looking, call {calls}");
            }
        }
        eprintln!(
            "{calls} calls: {} returned, {} threw, {} were killed, {} were dropped",
            ends[0], ends[1], ends[2], ends[3]
        );
    });
}

/// Runs a call to its end, or drops it where it waits. Says how it ended.
fn run_or_drop(slot: &mut Slot, invocation: &Invocation<'_>, random: &mut ChaCha8Rng) -> usize {
    let mut host = TestHost::default();
    let mut step = slot.start(invocation, &mut host).expect("it starts");
    loop {
        match step {
            Step::Done(Ok(_)) => return 0,
            Step::Done(Err(_)) => return 1,
            Step::Killed(_) => return 2,
            Step::NeedsHost { .. } if random.next_u32().is_multiple_of(4) => return 3,
            Step::NeedsHost { operations } => {
                let ids: Vec<OperationId> = operations.into_iter().map(|operation| operation.id).collect();
                let answers = ids.into_iter().map(|id| (id, Ok("{}".into()))).collect();
                step = slot.resume(answers, &mut host).expect("it goes on");
            }
        }
    }
}

/// Each thread has taken as many page faults as any other when it begins, so that their numbers alone tell nothing.
#[test]
fn a_slot_that_goes_from_thread_to_thread_is_reset_as_wholly() {
    let image = image(FUNCTIONS);
    let mut slot = {
        let image = std::sync::Arc::clone(&image);
        on_thread(move || Slot::new(&image).expect("a slot"))
    };
    for seed in 0..20 {
        let (mut waiting, mut step) = on_thread(move || {
            let arguments = format!(r#"[{{"seed":{seed},"count":500}}]"#);
            let step = slot.start(&query_of("scribble", &arguments), &mut TestHost::default());
            (slot, step.expect("it starts"))
        });
        while let Step::NeedsHost { operations } = step {
            (waiting, step) = on_thread(move || {
                let answers = operations.into_iter().map(|operation| (operation.id, Ok("{}".into())));
                let step = waiting.resume(answers.collect(), &mut TestHost::default());
                (waiting, step.expect("it goes on"))
            });
        }
        slot = on_thread(move || {
            waiting.reset().expect("it resets");
            assert!(waiting.wholly_equals_image(), "seed {seed}");
            waiting
        });
    }
}

#[test]
fn a_slot_that_was_written_to_is_found_out() {
    let image = image(FUNCTIONS);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        assert!(slot.wholly_equals_image());
        assert_eq!(value(&mut slot, &query_of("look", "[]")), r#"[2000,2000,"text 7",0,0]"#);
        assert!(!slot.wholly_equals_image(), "a call leaves traces until the reset");
    });
}
