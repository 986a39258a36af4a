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
