//! Promises, whose inner workings the build changes (build/edits.rs), behave as they do elsewhere.

mod support;

use isolate::*;
use support::*;

#[test]
fn reactions_run_in_the_order_of_the_standard() {
    let image = image(
        r#"
        export const order = query(async () => {
          const log = [];
          const say = (word) => () => { log.push(word); };
          const thenable = (value) => ({ then(resolve) { log.push("then " + value); resolve(value); } });
          const throwing = { get then() { throw new Error("getter"); } };
          const none = async () => {};
          const plain = async () => { log.push("plain"); return 1; };
          const nested = async () => plain();
          const awaited = async () => await plain();
          const like = async () => thenable("like");
          const fails = async () => { await null; throw new Error("thrown"); };
          const bad = async () => throwing;
          const self = (async () => { await null; return self; })();
          await Promise.all([
            none().then(say("none")),
            nested().then(say("nested")),
            awaited().then(say("awaited")),
            like().then((value) => log.push("liked " + value)),
            fails().catch((error) => log.push(error.message)),
            bad().catch((error) => log.push(error.message)),
            self.catch((error) => log.push(error.name)),
            Promise.resolve(thenable("resolved")).then((value) => log.push("got " + value)),
            Promise.reject(3).catch((value) => log.push("rejected " + value)),
            Promise.resolve(plain()).then(say("same")),
            (async () => { for (let i = 0; i < 6; i++) { await i; log.push("tick " + i); } })(),
            (async () => {
              try { await Promise.reject(4); } catch (value) { log.push("caught " + value); } finally { log.push("finally"); }
            })(),
            (async () => log.push("awaited " + await thenable("value")))(),
          ]);
          class Own extends Promise {}
          log.push(Own.resolve(1) instanceof Own, Own.reject(2).catch(() => {}) instanceof Own);
          return log;
        });
        "#,
    );
    // What Node.js 20 answers.
    let expected = r#"["plain","plain","plain","none","then like","getter","then resolved","rejected 3","same","tick 0","caught 4","finally","then value","TypeError","awaited","liked like","thrown","got resolved","tick 1","awaited value","nested","tick 2","tick 3","tick 4","tick 5",true,true]"#;
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for _ in 0..2 {
            assert_eq!(value(&mut slot, &query_of("order", "[]")), expected);
        }
    });
}

#[test]
fn each_of_many_operations_gets_its_own_answer() {
    let image = image(
        r#"
        export const many = query(async () => {
          const ask = async (n) => {
            const first = await operation("echo", { n });
            const second = await operation("echo", { n: first.n * 10 });
            return second.n;
          };
          return Promise.all(Array.from({ length: 50 }, (_, n) => ask(n)));
        });
        "#,
    );
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let mut host = TestHost::default();
        let mut step = slot.start(&query_of("many", "[]"), &mut host).expect("it starts");
        let mut waiting = Vec::new();
        let result = loop {
            match step {
                Step::NeedsHost { operations } => waiting.extend(operations),
                Step::Done(result) => break result.expect("it succeeds"),
                Step::Killed(reason) => panic!("{reason:?}"),
            }
            // Neither in the order of issue nor all at once.
            let operation: AsyncOperation = waiting.swap_remove(waiting.len() / 3);
            step = slot
                .resume(vec![(operation.id, Ok(operation.arguments.into()))], &mut host)
                .expect("it goes on");
        };
        let expected: Vec<String> = (0..50).map(|n| (n * 10).to_string()).collect();
        assert_eq!(result, format!("[{}]", expected.join(",")));
    });
}
