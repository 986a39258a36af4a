//! Bytes travel as base64 in JSON, made by functions that the library brings: these get a body in C, where they are what
//! they look like (guest/base64.h).

mod support;

use isolate::*;
use support::*;

/// Two functions of the form that the package base64-js gave them, under the short names of a bundler.
const BASE64: &str = r#"
var letters = [], values = [], Bytes = Uint8Array, calls = 0;
for (var i = 0; i < 64; i++) {
  letters[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i];
  values[letters[i].charCodeAt(0)] = i;
}
values[45] = 62;
values[95] = 63;
function lengths(text) {
  if (text.length % 4 > 0) throw new Error("a length that is no multiple of 4");
  var valid = text.indexOf("=");
  if (valid === -1) valid = text.length;
  return [valid, valid === text.length ? 0 : 4 - (valid % 4)];
}
function lengthOf(text, valid, padding) {
  return ((valid + padding) * 3) / 4 - padding;
}
function a(text) {
  var found = lengths(text), valid = found[0], padding = found[1], at = 0, i = 0;
  var bytes = new Bytes(lengthOf(text, valid, padding));
  for (; i < valid; i += 4) {
    var bits = (values[text.charCodeAt(i)] << 18) | (values[text.charCodeAt(i + 1)] << 12) |
      (values[text.charCodeAt(i + 2)] << 6) | values[text.charCodeAt(i + 3)];
    bytes[at++] = bits >> 16;
    if (at < bytes.length) bytes[at++] = bits >> 8;
    if (at < bytes.length) bytes[at++] = bits;
  }
  return bytes;
}
function chunk(bytes, start, end) {
  var text = "";
  for (var i = start; i < end; i += 3) {
    var bits = (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2];
    text += letters[bits >> 18] + letters[(bits >> 12) & 63] + letters[(bits >> 6) & 63] + letters[bits & 63];
  }
  return text;
}
function b(bytes) {
  var rest = bytes.length % 3, text = chunk(bytes, 0, bytes.length - rest), last = bytes.length - rest;
  if (rest === 1) text += letters[bytes[last] >> 2] + letters[(bytes[last] << 4) & 63] + "==";
  if (rest === 2)
    text += letters[bytes[last] >> 2] + letters[((bytes[last] << 4) | (bytes[last + 1] >> 4)) & 63] +
      letters[(bytes[last + 1] << 2) & 63] + "=";
  return text;
}
Object.defineProperty(a, "name", { value: "toByteArray" });
Object.defineProperty(b, "name", { value: "fromByteArray" });
"#;

const FUNCTIONS: &str = r#"
const filled = (length) => {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 4097) bytes[i] = i >> 12;
  return bytes;
};
const sum = (bytes) => { let sum = bytes.length; for (let i = 0; i < bytes.length; i += 4097) sum += bytes[i]; return sum; };
const decoded = (value) => a(value.$bytes);
const encoded = (bytes) => ({ $bytes: b(bytes) });

export const one = query((ctx, { length }) => encoded(filled(length)));
export const many = query((ctx, { length, count }) => Array.from({ length: count }, () => encoded(filled(length))));
export const size = query((ctx, { bytes }) => sum(decoded(bytes)));
export const echo = query((ctx, { bytes }) => encoded(decoded(bytes)));
export const throughOperations = query(async (ctx, { length, count }) => {
  const all = [];
  for (let i = 0; i < count; i++) {
    const { body } = await operation("echo", { i, body: encoded(filled(length)) });
    all.push(decoded(body));
  }
  return all.map(sum);
});
export const selfContained = query(() => {
  const text = "x".repeat(1 << 20);
  return Array.from({ length: 8000 }, () => text);
});
export const asWritten = query(() => {
  const attempt = (f) => { try { return f(); } catch (e) { return e.message; } };
  return [
    b([1, 2, 300]), b({ length: 1, 0: 4 }), b(new Uint8Array(0)), b(new Uint8ClampedArray([7])),
    attempt(() => a("abc")), [...a("")], [...a("_-8=")], [...a("A*==")], attempt(() => a(undefined).length), a.name, b.length,
  ];
});
export const latin = query(() => [JSON.parse(JSON.stringify("ä".repeat(5000))) === "ä".repeat(5000), JSON.stringify({ a: "\u0001".repeat(3000) }).length]);
export const long = query((ctx, { text }) => [text.length, text.slice(-3), JSON.stringify({ text }).length]);
export const mixed = query(() => ({ a: "ä".repeat(3000), b: "\ud83d\ude00".repeat(3000), c: "x".repeat(3000), d: "\"".repeat(3000) }));
"#;

fn image_of(base64: &str) -> std::sync::Arc<Image> {
    image(&format!("{base64}\n{FUNCTIONS}"))
}

/// Within the time and memory that a call has by default.
#[test]
fn sixteen_mebibytes_are_returned() {
    let image = image_of(BASE64);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for (export, arguments, chars) in [
            ("one", r#"[{"length":16777216}]"#, 22_369_624 + 13),
            ("many", r#"[{"length":2097152,"count":8}]"#, 8 * (2_796_204 + 14) + 1),
            ("many", r#"[{"length":16384,"count":1024}]"#, 1024 * (21_848 + 14) + 1),
            ("many", r#"[{"length":2048,"count":8192}]"#, 8192 * (2_732 + 14) + 1),
        ] {
            let text = value(&mut slot, &query_of(export, arguments));
            assert_eq!(text.len(), chars, "{export}{arguments}");
            assert!(text.is_ascii() && text.contains(r#""$bytes":"AAAA"#));
        }
    });
}

#[test]
fn sixteen_mebibytes_are_taken_and_given_back() {
    let image = image_of(BASE64);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        // As much as may be sent: 16 MiB of text.
        let arguments = format!(r#"[{{"bytes":{{"$bytes":"{}"}}}}]"#, "AAAB".repeat((16 << 18) - 10));
        let bytes = 3 * ((16 << 18) - 10);
        let got = value(&mut slot, &query_of("size", &arguments));
        assert!(got.parse::<usize>().is_ok_and(|sum| sum >= bytes), "{got}");
        let back = value(&mut slot, &query_of("echo", &arguments));
        assert!(arguments.contains(&back) && back.len() > 16_000_000);
    });
}

#[test]
fn bytes_of_documents_are_written_and_read() {
    let image = image_of(BASE64);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let text = value(&mut slot, &query_of("throughOperations", r#"[{"length":1048000,"count":16}]"#));
        let sums: Vec<u64> = serde_json::from_str(&text).expect("numbers");
        assert!(sums.len() == 16 && sums.iter().all(|sum| *sum == sums[0] && *sum > 1_048_000), "{text}");
    });
}

/// It needs little memory of the guest, and would need eight gigabytes of the host.
#[test]
fn a_result_that_repeats_itself_is_held_to_the_calls_memory() {
    let image = image_of(BASE64);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let step = run(&mut slot, &query_of("selfContained", "[{}]"));
        let is_held = match &step {
            Step::Killed(KillReason::OutOfMemory { .. }) => true,
            Step::Done(Err(error)) => error.message.contains("string"),
            _ => false,
        };
        assert!(is_held, "{step:?}");
    });
}

#[test]
fn what_the_body_in_c_does_not_take_goes_on_to_the_function_as_written() {
    let asks = |base64: &str| {
        let image = image_of(base64);
        on_thread(move || {
            let mut slot = Slot::new(&image).expect("a slot");
            let run = |export: &str, slot: &mut Slot| value(slot, &query_of(export, "[{}]"));
            (run("asWritten", &mut slot), run("latin", &mut slot))
        })
    };
    let (as_written, latin) = asks(BASE64);
    // The same functions with something more in their closures are left alone.
    let (kept, _) = asks(
        &BASE64
            .replace("function a(text) {", "function a(text) { calls;")
            .replace("function b(bytes) {", "function b(bytes) { calls;"),
    );
    assert_eq!(as_written, kept);
    assert!(as_written.contains("no multiple of 4"), "{as_written}");
    assert_eq!(latin, "[true,18008]");
}

/// Of the right form, with another alphabet: the library's functions for URLs would look like this.
#[test]
fn functions_that_give_something_else_stay_as_they_are() {
    let other = BASE64.replace(
        "text += letters[bytes[last] >> 2] + letters[(bytes[last] << 4) & 63] + \"==\"",
        "text += '!'",
    );
    assert_ne!(other, BASE64);
    let image = image_of(&other);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        assert_eq!(value(&mut slot, &query_of("one", r#"[{"length":1}]"#)), r#"{"$bytes":"!"}"#);
    });
}

#[test]
fn long_texts_of_every_kind_come_out_as_they_are() {
    let image = image_of(BASE64);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        let text = value(&mut slot, &query_of("mixed", "[{}]"));
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        for (name, part) in [("a", "ä"), ("b", "\u{1f600}"), ("c", "x"), ("d", "\"")] {
            assert_eq!(parsed[name], part.repeat(3000), "{name}");
        }
        for length in [65_535, 65_536, 200_000] {
            let arguments = format!(r#"[{{"text":"{}xyz"}}]"#, "a".repeat(length));
            let text = value(&mut slot, &query_of("long", &arguments));
            assert_eq!(text, format!(r#"[{},"xyz",{}]"#, length + 3, length + 14));
        }
    });
}
