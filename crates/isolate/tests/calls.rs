//! What calls see and return.

mod support;

use isolate::*;
use support::*;

#[test]
fn a_query_gets_answers_and_returns() {
    let image = image(
        r#"export const sum = query(async (ctx, { list }) => {
             let sum = 0;
             for (const number of list) sum += (await operation("echo", { number })).number;
             return { sum, sync: syscall("echo", { a: 1 }) };
           });"#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for _ in 0..3 {
            let result = value(&mut slot, &query_of("sum", r#"[{"list":[1,2,3.5]}]"#));
            assert_eq!(result, r#"{"sum":6.5,"sync":{"a":1}}"#);
        }
    });
}

#[test]
fn operations_issued_together_arrive_together_in_order() {
    let image = image(
        r#"export const all = query(() => Promise.all([1, 2, 3].map((n) => operation("echo", { n }))));"#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let step = slot.start(&query_of("all", "[]"), &mut host).expect("it starts");
        let Step::NeedsHost { operations } = step else { panic!("{step:?}") };
        let arguments: Vec<&str> = operations.iter().map(|operation| operation.arguments.as_str()).collect();
        assert_eq!(arguments, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
        // The answers may come in any order, and one by one.
        let answer = |index: usize| vec![(operations[index].id, Ok(format!("{{\"n\":{index}}}").into()))];
        for index in [2, 0] {
            let step = slot.resume(answer(index), &mut host).expect("it goes on");
            assert!(matches!(step, Step::NeedsHost { ref operations } if operations.is_empty()), "{step:?}");
        }
        let step = slot.resume(answer(1), &mut host).expect("it goes on");
        assert!(
            matches!(step, Step::Done(Ok(ref text)) if text == r#"[{"n":0},{"n":1},{"n":2}]"#),
            "{step:?}"
        );
        let again = slot.resume(answer(1), &mut host);
        assert!(matches!(again, Err(EngineError::WrongState(_))), "{again:?}");
    });
}

#[test]
fn a_call_with_an_outcome_can_be_ended_although_it_waits() {
    let image = image(
        r#"export const ends = action(async () => { operation("echo", {}); return 7; });
           export const waits = action(async () => { await operation("echo", {}); return 8; });"#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let action = |export| Invocation { kind: FunctionKind::Action, ..query_of(export, "[]") };
        let step = slot.start(&action("ends"), &mut host).expect("it starts");
        assert!(matches!(step, Step::NeedsHost { .. }) && slot.has_outcome(), "{step:?}");
        let step = slot.finish().expect("it ends");
        assert!(matches!(step, Step::Done(Ok(ref text)) if text == "7"), "{step:?}");
        let step = slot.start(&action("waits"), &mut host).expect("it starts");
        assert!(matches!(step, Step::NeedsHost { .. }) && !slot.has_outcome(), "{step:?}");
        assert!(matches!(slot.finish(), Err(EngineError::WrongState(_))));
    });
}

/// A host for which time passes, a millisecond for each look.
#[derive(Default)]
struct Clock(f64);

impl SyncHost for Clock {
    fn syscall(&mut self, _: &str, _: &str) -> Result<String, SyscallError> {
        Err(SyscallError::new("it knows the time and nothing else"))
    }

    fn log(&mut self, _: ConsoleLine) {}

    fn now_ms(&mut self) -> Option<f64> {
        self.0 += 1.0;
        Some(1_000.0 + self.0)
    }
}

#[test]
fn time_passes_where_the_host_says_so() {
    let image = image(
        r#"export const passes = action(() => [Date.now(), Date.now(), performance.now(), performance.now()]);"#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let invocation = Invocation { kind: FunctionKind::Action, ..query_of("passes", "[]") };
        let step = slot.start(&invocation, &mut Clock::default()).expect("it runs");
        // The first look of `performance.now()` is the moment from which it counts.
        assert!(matches!(step, Step::Done(Ok(ref text)) if text == "[1001,1002,1,2]"), "{step:?}");
    });
}

#[test]
fn errors_keep_their_shape_in_both_directions() {
    let image = image(
        r#"
        export const plain = query(() => { throw new TypeError("no such thing"); });
        export const application = query(() => { throw new ConvexError({ code: 7, big: "x" }); });
        export const text = query(() => { throw "just text"; });
        export const object = query(() => { throw { a: 1 }; });
        export const nothing = query(() => { throw undefined; });
        export const hostile = query(() => { throw new Proxy({}, { get() { throw 1; }, has() { return false; } }); });
        export const operationFails = query(() => operation("fail", {}));
        export const syncFails = query(() => syscall("unheard-of", {}));
        export const dataComesIn = query(async () => {
          try { await operation("fail with data", { a: [1] }); } catch (error) { return [error instanceof ConvexError, error.data]; }
        });
        export const dataGoesThrough = query(() => operation("fail with data", { a: [1] }));
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let plain = error(&mut slot, &query_of("plain", "[]"));
        assert_eq!((plain.name.as_str(), plain.message.as_str()), ("TypeError", "no such thing"));
        assert_eq!(plain.convex_error_data, None);
        let first_frame = plain.stack.lines().next().expect("a frame");
        assert!(first_frame.contains("at functions.js:3:"), "{}", plain.stack);
        assert!(!plain.stack.contains("tidemark:"), "{}", plain.stack);

        let application = error(&mut slot, &query_of("application", "[]"));
        assert_eq!(application.name, "ConvexError");
        assert_eq!(application.convex_error_data.as_deref(), Some(r#"{"code":7,"big":"x"}"#));

        for (export, message) in [
            ("text", "just text"),
            ("object", "{ a: 1 }"),
            ("nothing", "undefined"),
            ("operationFails", "it failed"),
            ("syncFails", "Unknown operation: unheard-of"),
        ] {
            let thrown = error(&mut slot, &query_of(export, "[]"));
            assert_eq!((thrown.name.as_str(), thrown.message.as_str()), ("Error", message));
        }
        error(&mut slot, &query_of("hostile", "[]"));

        assert_eq!(value(&mut slot, &query_of("dataComesIn", "[]")), r#"[true,{"a":[1]}]"#);
        let through = error(&mut slot, &query_of("dataGoesThrough", "[]"));
        assert_eq!(through.convex_error_data.as_deref(), Some(r#"{"a":[1]}"#));
    });
}

#[test]
fn the_clock_stands_still_and_looking_at_it_shows() {
    let image = image(
        r#"
        export const clock = query(async () => {
          const before = Date.now();
          await operation("echo", {});
          return [before, Date.now(), new Date().toISOString(), performance.now()];
        });
        export const other = query(() => new Date(5).getTime());
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        assert_eq!(
            value(&mut slot, &query_of("clock", "[]")),
            r#"[1800000000123,1800000000123,"2027-01-15T08:00:00.123Z",0]"#
        );
        assert!(slot.observations().time);
        assert_eq!(value(&mut slot, &query_of("other", "[]")), "5");
        assert!(!slot.observations().time);
    });
}

#[test]
fn randomness_comes_from_the_seed_and_shows() {
    let image = image(
        r#"
        const atImport = Math.random();
        export const draw = query(() => [Math.random(), Math.random(), crypto.randomUUID(), [...crypto.getRandomValues(new Uint16Array(3))]]);
        export const imported = query(() => atImport);
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut invocation = query_of("draw", "[]");
        let first = value(&mut slot, &invocation);
        assert!(slot.observations().randomness);
        assert_eq!(value(&mut slot, &invocation), first);
        invocation.seed = [2; 32];
        assert_ne!(value(&mut slot, &invocation), first);
        let numbers: (f64, f64, String, [u16; 3]) = serde_json::from_str(&first).expect("numbers");
        assert!(numbers.0 != numbers.1 && (0.0..1.0).contains(&numbers.0));
        assert_eq!(numbers.2.as_bytes()[14], b'4');

        let imported = value(&mut slot, &query_of("imported", "[]"));
        assert_eq!(value(&mut slot, &query_of("imported", "[]")), imported);
        assert!(!slot.observations().randomness);
    });
}

#[test]
fn what_is_not_awaited_still_ends_before_the_call() {
    let image = image(
        r#"
        let answered = 0;
        export const floating = query(() => { operation("echo", {}).then(() => { answered++; console.log(answered); }); return 1; });
        export const failing = query(() => { operation("fail", {}); return 1; });
        export const rejected = query(() => { Promise.reject(new Error("nobody looks")); return 1; });
        export const late = query(async () => { const p = Promise.reject(new Error("caught")); try { await p; } catch {} return 2; });
        export const later = query(async () => { const failing = operation("fail", {}); await operation("slow", {}); return failing.catch((e) => e.message); });
        export const microtask = query(() => { queueMicrotask(() => { throw new Error("in a microtask"); }); return 1; });
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let step = run_with(&mut slot, &query_of("floating", "[]"), &mut host);
        assert!(matches!(step, Step::Done(Ok(ref text)) if text == "1"), "{step:?}");
        assert_eq!(host.lines[0].messages, ["1"]);
        for (export, message) in
            [("failing", "it failed"), ("rejected", "nobody looks"), ("microtask", "in a microtask")]
        {
            assert_eq!(error(&mut slot, &query_of(export, "[]")).message, message);
        }
        assert_eq!(value(&mut slot, &query_of("late", "[]")), "2");

        // A rejection may find its handler while something is outstanding.
        let step = slot.start(&query_of("later", "[]"), &mut host).expect("it starts");
        let Step::NeedsHost { operations } = step else { panic!("{step:?}") };
        let failed = vec![(operations[0].id, Err(SyscallError::new("it failed")))];
        let step = slot.resume(failed, &mut host).expect("it goes on");
        assert!(matches!(step, Step::NeedsHost { .. }), "{step:?}");
        let step = slot.resume(vec![(operations[1].id, Ok("1".into()))], &mut host).expect("it goes on");
        assert!(matches!(step, Step::Done(Ok(ref text)) if text == "\"it failed\""), "{step:?}");
    });
}

#[test]
fn a_call_leaves_nothing_behind() {
    let image = image(
        r#"
        let count = 0;
        const list = [];
        export const leave = mutation((ctx, { by }) => {
          count += by;
          list.push(by);
          globalThis.left = by;
          Array.prototype.left = by;
          Object.defineProperty(Object.prototype, "alsoLeft", { value: by, configurable: true });
          process.env.LEFT = String(by);
          console.time("t");
          Promise.resolve().then(() => { count++; });
          operation("echo", {}).then(() => operation("echo", {}));
          return 1;
        });
        export const look = query(() => {
          const found = [count, list.length, typeof left, typeof [].left, typeof {}.alsoLeft, process.env.LEFT ?? null];
          console.timeEnd("t");
          return found;
        });
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        for round in 0..20 {
            let mut leave = query_of("leave", r#"[{"by":3}]"#);
            leave.kind = FunctionKind::Mutation;
            if round % 2 == 0 {
                value(&mut slot, &leave);
            } else {
                // Dropped in the middle.
                let step = slot.start(&leave, &mut host).expect("it starts");
                assert!(matches!(step, Step::NeedsHost { .. }), "{step:?}");
            }
            assert_eq!(
                value(&mut slot, &query_of("look", "[]")),
                r#"[0,0,"undefined","undefined","undefined",null]"#
            );
        }
    });
}

#[test]
fn another_slot_runs_while_one_waits() {
    let image = image(
        r#"export const nest = query(async (ctx, { depth }) =>
             depth === 0 ? 0 : 1 + (await operation("nest", { depth: depth - 1 })));"#,
    );
    fn nest(image: &std::sync::Arc<Image>, arguments: &str) -> String {
        let mut slot = Slot::new(image).expect("a slot");
        let mut host = TestHost::default();
        let mut step = slot.start(&query_of("nest", arguments), &mut host).expect("it starts");
        loop {
            match step {
                Step::NeedsHost { operations } => {
                    let answers = operations
                        .into_iter()
                        .map(|operation| {
                            (operation.id, Ok(nest(image, &format!("[{}]", operation.arguments)).into()))
                        })
                        .collect();
                    step = slot.resume(answers, &mut host).expect("it goes on");
                }
                Step::Done(Ok(text)) => return text,
                other => panic!("{other:?}"),
            }
        }
    }
    on_thread(move || assert_eq!(nest(&image, r#"[{"depth":8}]"#), "8"));
}

#[test]
fn the_console_formats_values() {
    let image = image(
        r#"export const talk = query(() => {
             class Point { constructor() { this.x = 1; } }
             console.log("text", 1, -0, 2n, null, undefined, true, Symbol("s"));
             console.warn({ a: "it's", b: [1, , "x"], "c-d": { e: { f: { g: { h: {} } } } } }, new Point());
             console.error(new Error("bad"), new Map([["k", new Set([1])]]), new Date(0), /x/g, function named() {}, class K {});
             console.debug(new Uint8Array([1, 2]), Object.create(null), [[]], new ArrayBuffer(3));
             const loop = {}; loop.self = loop;
             console.info(loop, "\n'", ["it's", "\""]);
           });"#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let step = run_with(&mut slot, &query_of("talk", "[]"), &mut host);
        assert!(matches!(step, Step::Done(Ok(ref text)) if text == "null"), "{step:?}");
        let lines: Vec<(&str, String)> =
            host.lines.iter().map(|line| (line.level.as_str(), line.messages.join(" | "))).collect();
        assert_eq!(lines[0], ("LOG", "'text' | 1 | -0 | 2n | null | undefined | true | Symbol(s)".into()));
        assert_eq!(lines[1].0, "WARN");
        assert_eq!(
            lines[1].1,
            "{\n  a: \"it's\",\n  b: [ 1, <empty>, 'x' ],\n  'c-d': { e: { f: { g: { h: [Object] } } } }\n} | Point { x: 1 }"
        );
        assert!(lines[2].1.starts_with("Error: bad\n    at "), "{}", lines[2].1);
        assert!(
            lines[2].1.ends_with(
                "| Map(1) { 'k' => Set(1) { 1 } } | 1970-01-01T00:00:00.000Z | /x/g | [Function: named] | [class: K]"
            ),
            "{}",
            lines[2].1
        );
        assert_eq!(
            lines[3],
            ("DEBUG", "Uint8Array(2) [ 1, 2 ] | [Object: null prototype] {} | [ [] ] | ArrayBuffer { byteLength: 3 }".into())
        );
        assert_eq!(lines[4], ("INFO", "{ self: [Circular] } | \"\\n'\" | [ \"it's\", '\"' ]".into()));
    });
}

#[test]
fn what_functions_may_not_do_says_so() {
    let image = image(
        r#"
        export const types = query(() => [typeof fetch, typeof setTimeout, typeof Intl, typeof WebAssembly, typeof window, typeof ReadableStream]);
        export const fetching = query(() => fetch("https://example.com"));
        export const sleeping = query(() => setTimeout(() => {}, 1));
        export const importing = query(() => import("./_deps/library.js"));
        export const keys = query(() => crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-1" }, true, ["sign"]));
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        assert_eq!(
            value(&mut slot, &query_of("types", "[]")),
            r#"["function","function","object","undefined","undefined","function"]"#
        );
        for (export, code) in [
            ("fetching", "NoFetchInQueriesOrMutations"),
            ("sleeping", "NoSleepInQueriesOrMutations"),
            ("importing", "NoDynamicImport"),
            ("keys", "NoCryptoRngInQueriesOrMutations"),
        ] {
            let thrown = error(&mut slot, &query_of(export, "[]"));
            assert_eq!(thrown.code.as_deref(), Some(code), "{thrown:?}");
        }
    });
}

#[test]
fn the_console_does_not_print_the_values_of_the_environment() {
    let image = image(
        r#"
        export const print = query(() => {
          console.log(process.env);
          console.log({ nested: [process.env] });
          console.info("%o", process.env);
          console.log({ ...process.env, OTHER: "shown" });
          console.log(Object.entries(process.env), new Map(Object.entries(process.env)));
          console.log({ deep: Object.assign(Object.create(null), process.env) });
          return Object.values(process.env).length;
        });
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let step = run_with(&mut slot, &query_of("print", "[]"), &mut host);
        assert!(matches!(&step, Step::Done(Ok(text)) if text == "1"), "{step:?}");
        assert_eq!(host.lines.len(), 6);
        assert!(host.lines[3].messages[0].contains("OTHER: 'shown'"), "{:?}", host.lines[3]);
        for line in host.lines {
            let text = line.messages.join(" ");
            assert!(text.contains("CONVEX_CLOUD_URL") && !text.contains("http://"), "{text}");
        }
    });
}

#[test]
fn lines_of_timers_are_information() {
    let image = image(
        "export const time = query(() => { console.time('a'); console.timeLog('a', 1); console.timeEnd('a'); console.timeEnd('b'); });",
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        run_with(&mut slot, &query_of("time", "[]"), &mut host);
        let lines: Vec<_> = host.lines.iter().map(|line| (line.level, line.messages.join(" "))).collect();
        let expected = [
            (ConsoleLevel::Info, "a: 0ms 1".to_string()),
            (ConsoleLevel::Info, "a: 0ms".to_string()),
            (ConsoleLevel::Warn, "Timer 'b' does not exist".to_string()),
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn an_error_of_an_awaited_operation_names_the_lines_that_wait_for_it() {
    // The first line is that of the import.
    let image = image(
        "const read = async () => {\n  return await operation('fail', {});\n};\nexport const outer = query(async () => {\n  \
         const first = await read();\n  return first;\n});",
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let thrown = error(&mut slot, &query_of("outer", "[]"));
        for place in ["functions.js:3:", "functions.js:6:"] {
            assert!(thrown.stack.contains(place), "{place} is not in\n{}", thrown.stack);
        }
    });
}

#[test]
fn calling_what_is_not_there_says_so() {
    let image = image("export const there = query(() => 1); export const plain = 1;");
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut invocation = query_of("missing", "[]");
        assert_eq!(error(&mut slot, &invocation).code.as_deref(), Some("FunctionNotFound"));
        invocation.export = "plain";
        assert_eq!(error(&mut slot, &invocation).code.as_deref(), Some("WrongFunctionKind"));
        invocation.export = "there";
        invocation.kind = FunctionKind::Mutation;
        assert_eq!(error(&mut slot, &invocation).code.as_deref(), Some("WrongFunctionKind"));
        invocation.module = "elsewhere.js";
        assert_eq!(error(&mut slot, &invocation).code.as_deref(), Some("ModuleNotFound"));
        invocation.arguments = "not JSON";
        invocation.module = "functions.js";
        invocation.kind = FunctionKind::Query;
        assert_eq!(error(&mut slot, &invocation).name, "SyntaxError");
    });
}

#[test]
fn actions_get_their_request_id() {
    let image = image("export const act = action(() => 1);");
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut invocation = query_of("act", "[{}]");
        invocation.kind = FunctionKind::Action;
        invocation.request_id = "request-1";
        assert_eq!(value(&mut slot, &invocation), "1");
    });
}

#[test]
fn an_asynchronous_context_follows_the_flow_of_control() {
    let image = image(
        r#"
        const storage = new AsyncLocalStorage();
        export const follow = query(async () => {
          const task = async (name) => {
            const seen = [storage.getStore()];
            await operation("echo", {});
            seen.push(storage.getStore());
            await Promise.resolve().then(() => seen.push(storage.getStore()));
            await new Promise((resolve) => queueMicrotask(() => resolve(seen.push(storage.getStore()))));
            return [name, ...seen];
          };
          const tasks = ["a", "b"].map((name) => storage.run(name, () => task(name)));
          const outside = storage.getStore() ?? null;
          return [await Promise.all(tasks), outside, storage.getStore() ?? null];
        });
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        assert_eq!(
            value(&mut slot, &query_of("follow", "[]")),
            r#"[[["a","a","a","a","a"],["b","b","b","b","b"]],null,null]"#
        );
    });
}

#[test]
fn a_slot_needs_a_thread_with_a_large_stack() {
    let image = image("export const one = query(() => 1);");
    let refused = std::thread::spawn(move || Slot::new(&image).map(drop)).join().expect("no panic");
    assert!(matches!(refused, Err(EngineError::StackTooSmall { .. })), "{refused:?}");
}
