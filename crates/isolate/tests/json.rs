//! JSON in the guest: what is written and read the quick way is what the language says.

mod support;

use isolate::*;
use support::*;

/// Random values of all kinds, plain and not. A replacer that changes nothing makes the engine go its usual way.
const RANDOM_VALUES: &str = r#"
function generator(seed) {
  let state = seed >>> 0;
  const next = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const pick = (array) => array[next(array.length)];
  const text = () => {
    let result = "";
    for (let i = next(12); i > 0; i--) {
      result += pick(["a", "Z", " ", "\"", "\\", "/", "\n", "\t", "\b", "\f", "\r", "\v", "\0", "\u001f", "\u007f", "é", "ÿ", "Ā", "€", "😀", "\ud800", "\udc00", "\u2028", "7"]);
    }
    return result;
  };
  const key = () => pick([text, text, () => "k" + next(9), () => String(next(3)), () => "0" + next(2), () => "4294967294", () => "__proto__"])();
  const plain = (depth) => {
    switch (next(depth > 0 ? 10 : 7)) {
      case 0: return text();
      case 1: return pick([0, -0, 1, -1, 2 ** 31, -(2 ** 31), 999999999, 1000000000, 0.1, 1e21, 1e-7, NaN, Infinity, -Infinity, 5e-324]);
      case 2: return next(2 ** 31) - 2 ** 30;
      case 3: return pick([true, false, null, undefined]);
      case 4: return text() + text();
      case 5: return "x".repeat(next(300)) + text();
      case 6: return pick([[], {}]);
      case 7: return Array.from({ length: next(5) }, () => value(depth - 1));
      default: {
        const object = next(8) === 0 ? Object.create(null) : {};
        for (let i = next(6); i > 0; i--) {
          Object.defineProperty(object, key(), { value: value(depth - 1), writable: true, enumerable: true, configurable: true });
        }
        if (next(6) === 0) delete object[Object.keys(object)[0]];
        return object;
      }
    }
  };
  const special = (depth) =>
    pick([
      () => new Date(next(2 ** 31)),
      () => Object.assign(Object.create({ inherited: 1 }), { own: plain(0) }),
      () => ({ get a() { return plain(0) === 7 ? 1 : 2; }, b: 1 }),
      () => Object.defineProperty({ b: 1 }, "hidden", { value: 1, enumerable: false }),
      () => ({ toJSON: (name) => "json:" + name }),
      () => ({ toJSON: 5 }),
      () => new (class { x = plain(0); toJSON() { return [this.x]; } })(),
      () => new (class { x = plain(0); y = text(); })(),
      () => [1, , 3],
      () => Object.assign([1, 2], { extra: 1 }),
      () => Object.assign([1], { length: 3 }),
      () => Object.assign([1], { toJSON: () => "array" }),
      () => new Map([[1, 2]]),
      () => new Uint8Array([1, 2]),
      () => [new String("s"), new Number(1), new Boolean(false), Symbol("s"), () => 1],
      () => ({ [Symbol("s")]: 1, f() {}, s: Symbol("t") }),
      () => new Proxy({ a: plain(0), b: 2 }, {}),
      () => new Proxy([1, 2], {}),
      () => Object.freeze({ a: [plain(0)] }),
      () => { let deep = plain(0); for (let i = 0; i < 100; i++) deep = i % 2 ? [deep] : { deep }; return deep; },
      () => Object.setPrototypeOf([1, 2], null),
    ])();
  const value = (depth) => (next(12) === 0 ? special(depth) : plain(depth));
  return value;
}
const attempt = (f) => { try { return f(); } catch (e) { return e.constructor.name + ": " + e.message; } };
export const compare = query(async (ctx, { seed, count }) => {
  const value = generator(seed);
  let texts = 0;
  for (let i = 0; i < count; i++) {
    const v = value(4);
    const quick = attempt(() => JSON.stringify(v));
    const usual = attempt(() => JSON.stringify(v, (_, x) => x));
    if (quick !== usual) return `value ${i}: ${quick} is not ${usual}`;
    if (quick === undefined) continue;
    texts++;
    const again = JSON.stringify(JSON.parse(quick));
    if (again !== quick && !/[":,{][0-9]|__proto__|e[+-]|\.|-0/.test(quick)) return `value ${i}: ${quick} is read as ${again}`;
    const parsed = JSON.stringify(JSON.parse(again));
    if (parsed !== again) return `value ${i}: ${again} is read as ${parsed}`;
  }
  return texts;
});
"#;

#[test]
fn random_values_are_written_as_the_usual_way_writes_them() {
    let seed: u32 = match std::env::var("ISOLATE_SEED") {
        Ok(seed) => seed.parse().expect("ISOLATE_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.subsec_nanos()),
    };
    eprintln!("ISOLATE_SEED={seed} cargo test --workspace --test json");
    let image = image(RANDOM_VALUES);
    on_thread(move || {
        let mut slot = Slot::new(&image).expect("a slot");
        for round in 0..40 {
            let arguments = format!(r#"[{{"seed":{},"count":100}}]"#, seed.wrapping_add(round));
            match run(&mut slot, &query_of("compare", &arguments)) {
                Step::Done(Ok(texts)) => {
                    let written: u32 = texts.parse().unwrap_or_else(|_| panic!("round {round}: {texts}"));
                    assert!(written > 50, "round {round}: only {written} values have a text");
                }
                other => panic!("round {round}: {other:?}"),
            }
            slot.reset().expect("it resets");
        }
    });
}

#[test]
fn what_is_special_is_noticed() {
    check_expressions(&[
        // A method that is added to all objects, or to all arrays, is called.
        (
            "(() => { Object.prototype.toJSON = () => 'o'; return [JSON.stringify({a: 1}), JSON.stringify([1])]; })()",
            r#""o""#,
        ),
        (
            "(() => { Array.prototype.toJSON = () => 'a'; const s = JSON.stringify({a: [1]}); delete Array.prototype.toJSON; return s; })()",
            r#""{\"a\":\"a\"}""#,
        ),
        (
            "(() => { const a = {}; a.a = a; try { JSON.stringify(a); } catch (e) { return e.message; } })()",
            r#""Converting circular structure to JSON""#,
        ),
        ("(() => { try { JSON.stringify({a: 1n}); } catch (e) { return e.name; } })()", r#""TypeError""#),
        ("JSON.stringify({a: undefined, b: () => 1, c: 1})", r#""{\"c\":1}""#),
        ("JSON.stringify({b: 1, 2: 1, 1: 1, a: 1})", r#""{\"1\":1,\"2\":1,\"b\":1,\"a\":1}""#),
        ("JSON.stringify([-0, NaN, 1.5, 1e21, -7])", r#""[0,null,1.5,1e+21,-7]""#),
        (
            "JSON.stringify('\\u0000\\b\\t\\n\\v\\f\\r\\u001f\\\"\\\\/')",
            r#""\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\"""#,
        ),
        ("JSON.stringify({a: '\\ud800'})", r#""{\"a\":\"\\ud800\"}""#),
        // Reading: the last of two equal names counts, and `__proto__` is a name like others.
        (r#"JSON.stringify(JSON.parse('{"a":1,"b":2,"a":{"c":3}}'))"#, r#""{\"a\":{\"c\":3},\"b\":2}""#),
        (
            r#"(() => { const o = JSON.parse('{"__proto__":{"x":1}}'); return [Object.keys(o), o.x === undefined]; })()"#,
            r#"[["__proto__"],true]"#,
        ),
        (
            r#"JSON.parse('[0,7,999999999,1000000000,4294967296,1e3,-1,0.5,12345678901234567890]')"#,
            "[0,7,999999999,1000000000,4294967296,1000,-1,0.5,12345678901234567000]",
        ),
        (r#"Object.is(JSON.parse('-0'), -0)"#, "true"),
        (r#"JSON.parse('["","a\\"b","a\\u00e9","é😀"]')"#, r#"["","a\"b","aé","é😀"]"#),
        (
            r#"['01', '"a', '"a\nb"', '{"a":1,}', '1.', '+1', '{"a"'].filter((t) => { try { JSON.parse(t); return true; } catch (e) { return !(e instanceof SyntaxError); } })"#,
            "[]",
        ),
    ]);
}
