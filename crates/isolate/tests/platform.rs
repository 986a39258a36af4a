//! The web platform, by expressions and their values.

mod support;

use support::*;

#[test]
fn text_is_encoded_and_decoded() {
    check_expressions(&[
        ("[...new TextEncoder().encode('aä€😀')]", "[97,195,164,226,130,172,240,159,152,128]"),
        ("[...new TextEncoder().encode('\\ud800')]", "[239,191,189]"),
        ("new TextEncoder().encodeInto('aä€', new Uint8Array(4))", r#"{"read":2,"written":3}"#),
        ("new TextDecoder().decode(new Uint8Array([239,187,191,97,195,164]))", r#""aä""#),
        (
            "new TextDecoder().decode(new Uint8Array([97,0xff,0xe2,0x82,98,0xed,0xa0,0x80]))",
            "\"a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\"",
        ),
        (
            "(() => { try { new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])); } catch (e) { return e.name; } })()",
            r#""TypeError""#,
        ),
        (
            "(() => { const d = new TextDecoder(); return [[0xf0, 0x9f], [0x98], [0x80, 0x41]].map((b) => d.decode(new Uint8Array(b), { stream: true })).join('|') + d.decode(); })()",
            "\"||😀A\"",
        ),
        ("new TextDecoder('utf-16le').decode(new Uint8Array([0x3d, 0xd8, 0x00, 0xde]))", "\"😀\""),
        ("new TextDecoder('latin1').decode(new Uint8Array([0xe4, 0x80]))", "\"ä€\""),
        ("[btoa('héllo'), atob('aOlsbG8='), atob(' aGk ')]", "[\"aOlsbG8=\",\"héllo\",\"hi\"]"),
        ("(() => { try { btoa('€'); } catch (e) { return e.name; } })()", r#""InvalidCharacterError""#),
        // Looser than browsers, as the original is.
        ("[atob('Qx='), atob('Qx=='), atob('Qx')]", r#"["C","C","C"]"#),
    ]);
}

#[test]
fn urls_are_parsed_and_changed() {
    check_expressions(&[
        (
            "new URL('/a/../b?x=1#h', 'https://user:pw@Example.com:8080/c').href",
            r#""https://user:pw@example.com:8080/b?x=1#h""#,
        ),
        (
            "(({ origin, protocol, host, hostname, port, pathname, search, hash, username, password }) => [origin, protocol, host, hostname, port, pathname, search, hash, username, password])(new URL('https://u:p@a.b:1/c?d#e'))",
            r##"["https://a.b:1","https:","a.b:1","a.b","1","/c","?d","#e","u","p"]"##,
        ),
        (
            "(() => { const u = new URL('https://a/'); u.pathname = 'x y'; u.searchParams.append('q', 'ä&='); u.hash = 'z'; u.port = '99'; return String(u); })()",
            r#""https://a:99/x%20y?q=%C3%A4%26%3D#z""#,
        ),
        (
            "(() => { const u = new URL('https://a/?x=1'); u.search = '?y=2'; return u.searchParams.get('y'); })()",
            r#""2""#,
        ),
        (
            "(() => { try { new URL('nope'); } catch (e) { return [e instanceof TypeError, e.message]; } })()",
            r#"[true,"Invalid URL: 'nope'"]"#,
        ),
        (
            "[URL.canParse('https://a'), URL.canParse('a'), URL.parse('x', 'https://a/').href, JSON.stringify({ u: new URL('https://ä.de') })]",
            r#"[true,false,"https://a/x","{\"u\":\"https://xn--4ca.de/\"}"]"#,
        ),
        ("[...new URLSearchParams('?a=1&b=%20+c&a=%zz')]", r#"[["a","1"],["b","  c"],["a","%zz"]]"#),
        ("new URLSearchParams({ a: 'x y', b: '1/2' }).toString()", r#""a=x+y&b=1%2F2""#),
        (
            "(() => { const p = new URLSearchParams([['b', 1], ['a', 2], ['b', 3]]); p.sort(); p.set('b', 4); p.delete('a'); return [p.size, p.getAll('b'), p.has('a')]; })()",
            r#"[1,["4"],false]"#,
        ),
    ]);
}

#[test]
fn values_are_cloned() {
    check_expressions(&[
        (
            "(() => { const o = { d: new Date(5), m: new Map([[1, new Set([2])]]), a: [1, , 3], u: new Uint8Array([1, 2]).subarray(1), r: /x/gi, n: null, b: 1n }; o.self = o; const c = structuredClone(o); return [c !== o, c.self === c, c.d.getTime(), c.m.get(1).has(2), 1 in c.a, c.u[0], String(c.r), c.n, c.b === 1n]; })()",
            r#"[true,true,5,true,false,2,"/x/gi",null,true]"#,
        ),
        (
            "(() => { const c = structuredClone(new TypeError('t', { cause: 1 })); return [c instanceof TypeError, c.message, c.cause]; })()",
            r#"[true,"t",1]"#,
        ),
        (
            "(() => { try { structuredClone({ f() {} }); } catch (e) { return [e.name, e instanceof DOMException]; } })()",
            r#"["DataCloneError",true]"#,
        ),
    ]);
}

#[test]
fn events_and_aborts_work() {
    check_expressions(&[
        (
            "(() => { const seen = []; const t = new EventTarget(); t.addEventListener('x', (e) => seen.push(e.type, e.target === t), { once: true }); t.addEventListener('x', { handleEvent(e) { e.preventDefault(); } }); const first = t.dispatchEvent(new Event('x', { cancelable: true })); t.dispatchEvent(new CustomEvent('x', { detail: 1 })); return [seen, first]; })()",
            r#"[["x",true],false]"#,
        ),
        (
            "(() => { const c = new AbortController(); const seen = []; c.signal.addEventListener('abort', () => seen.push(1)); c.signal.onabort = () => seen.push(0); c.abort(); c.abort(); return [seen, c.signal.aborted, c.signal.reason.name, AbortSignal.abort('r').reason]; })()",
            r#"[[1,0],true,"AbortError","r"]"#,
        ),
        (
            "(() => { const c = new AbortController(); const any = AbortSignal.any([c.signal, new AbortController().signal]); c.abort(7); try { any.throwIfAborted(); } catch (e) { return e; } })()",
            "7",
        ),
    ]);
}

#[test]
fn the_global_object_is_an_event_target() {
    check_expressions(&[
        (
            "(() => { const seen = []; const f = (e) => seen.push(e.type, e.target === globalThis); addEventListener('x', f); globalThis.dispatchEvent(new Event('x')); removeEventListener('x', f); dispatchEvent(new Event('x')); return [seen, globalThis instanceof EventTarget]; })()",
            r#"[["x",true],true]"#,
        ),
        (
            "['addEventListener', 'removeEventListener', 'dispatchEvent'].map((name) => typeof globalThis[name])",
            r#"["function","function","function"]"#,
        ),
    ]);
}

#[test]
fn bodies_are_read() {
    check_expressions(&[
        (
            "(async () => { const b = new Blob(['a', new Uint8Array([98]), new Blob(['ä'])], { type: 'Text/Plain' }); return [b.size, b.type, await b.text(), await b.slice(1, 2).text(), (await b.arrayBuffer()).byteLength]; })()",
            r#"[4,"text/plain","abä","b",4]"#,
        ),
        (
            "(async () => { const f = new File(['x'], 'n.txt', { lastModified: 3 }); const d = new FormData(); d.append('a', 1); d.append('f', f); d.set('a', 2); return [f.name, f.lastModified, d.get('a'), d.get('f').name, [...d.keys()], f instanceof Blob]; })()",
            r#"["n.txt",3,"2","n.txt",["a","f"],true]"#,
        ),
        (
            "(() => { const h = new Headers({ 'Content-Type': ' a ' }); h.append('X', '1'); h.append('x', '2'); h.append('Set-Cookie', 'a'); h.append('Set-Cookie', 'b'); return [[...h], h.getSetCookie(), h.get('nope')]; })()",
            r#"[[["content-type","a"],["set-cookie","a"],["set-cookie","b"],["x","1, 2"]],["a","b"],null]"#,
        ),
        ("(() => { try { new Headers({ 'a b': '1' }); } catch (e) { return e.name; } })()", r#""TypeError""#),
        (
            "(async () => { const r = Response.json({ a: 1 }, { status: 201 }); const c = r.clone(); return [r.status, r.ok, r.headers.get('content-type'), await r.json(), await c.text(), r.bodyUsed, await r.text().catch((e) => e.name)]; })()",
            r#"[201,true,"application/json",{"a":1},"{\"a\":1}",true,"TypeError"]"#,
        ),
        (
            "(async () => { const r = new Request('https://a/b', { method: 'post', body: new URLSearchParams({ q: '1' }), headers: { x: 'y' } }); return [r.method, r.url, r.headers.get('x'), (await r.formData()).get('q')]; })()",
            r#"["POST","https://a/b","y","1"]"#,
        ),
        (
            "[new Response(null, { status: 204 }).body, Response.redirect('https://a/').headers.get('location'), Response.error().type]",
            r#"[null,"https://a/","error"]"#,
        ),
    ]);
}

#[test]
fn queries_have_all_that_is_computed_alone() {
    check_expressions(&[
        (
            "(async () => { let text = ''; for await (const part of new Response('ab').body.pipeThrough(new TextDecoderStream())) text += part; return text; })()",
            r#""ab""#,
        ),
        (
            "(async () => { const { port1, port2 } = new MessageChannel(); const got = new Promise((done) => { port1.onmessage = (e) => done(e.data); }); port2.postMessage([1]); return got; })()",
            "[1]",
        ),
        (
            "new Response(new FormData()).formData().catch((e) => e.code)",
            r#""NoFormParseInQueriesOrMutations""#,
        ),
        (
            "(() => { try { AbortSignal.timeout(1); } catch (e) { return e.code; } })()",
            r#""NoSleepInQueriesOrMutations""#,
        ),
        ("(async () => [...await new Response(new URLSearchParams('a=1')).formData()])()", r#"[["a","1"]]"#),
        ("(performance.mark('a'), performance.measure('b', 'a').duration)", "0"),
    ]);
}

#[test]
fn digests_and_random_numbers_work() {
    check_expressions(&[
        (
            "(async () => new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('abc'))).toHex())()",
            r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
        ),
        (
            "(async () => (await crypto.subtle.digest({ name: 'sha-1' }, new Uint8Array([1, 2, 3]).subarray(1))).byteLength)()",
            "20",
        ),
        ("crypto.subtle.digest('MD5', new Uint8Array(1)).catch((e) => e.name)", r#""NotSupportedError""#),
        ("crypto.getRandomValues(new Uint8Array(1000)).some((b) => b > 200)", "true"),
        (
            "(() => { try { crypto.getRandomValues(new Uint8Array(65537)); } catch (e) { return e.name; } })()",
            r#""QuotaExceededError""#,
        ),
        (
            "/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())",
            "true",
        ),
    ]);
}

#[test]
fn the_engine_behaves_as_packages_expect() {
    check_expressions(&[
        (
            "(() => { function f() { return new TypeError('m').stack; } return f().split('\\n').slice(0, 2).map((l) => l.trim().replace(/ \\(.*/, '')); })()",
            r#"["TypeError: m","at f"]"#,
        ),
        (
            "(() => { const e = new Error('x'); e.stack = undefined; return e.stack === undefined; })()",
            "true",
        ),
        ("Math.max(...new Array(400000).fill(3))", "3"),
        ("String.fromCharCode.apply(null, new Array(100000).fill(97)).length", "100000"),
        (
            "[/^a|b/.exec('xb')?.index, /^b/.exec('ab'), /^b/m.exec('a\\nb')?.index, /^(a|b)c/.exec('xbc'), /^[|(]x/.exec('q|x')]",
            r#"[1,null,2,null,null]"#,
        ),
        (
            "(() => { const r = /^a/g; return ['aaa'.replace(r, 'b'), 'xa'.match(/^a/), 'xa'.search(/^a/)]; })()",
            r#"["baa",null,-1]"#,
        ),
        (
            "[typeof navigator.userAgent, typeof self, self === globalThis, typeof process.env, performance.timeOrigin > 0]",
            r#"["string","object",true,"object",true]"#,
        ),
        ("Object.getOwnPropertyNames(globalThis).filter((name) => /host|tidemark/i.test(name))", "[]"),
    ]);
}
