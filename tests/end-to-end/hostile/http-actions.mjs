// What HTTP actions may try, and their clients. Each case is a sentence, the body of an HTTP action that gets `ctx`, `request` and in
// `outside` the address of a server that behaves badly (outside.mjs), how it must end, and the client that asks (clients.mjs).
import { ENDS, MEMORY, NEVER, STACK, TIME, WAIT } from "./endings.mjs";

/** It answers so. What it goes on with ends with this error, if one is named. */
const answers = (text, error) => ({ answer: `200 ${text}`, error });
/** Its answer breaks off, and the log has this error. */
const cut = (error) => ({ answer: "cut", error });
/** Its client sees what it will; in the log it has ended with this error, or with none where that fits. */
const logged = (error) => ({ error });

const NO_RESPONSE = /An HTTP action must return a Response/;
const READ_BEFORE = /The body of the Response has already been read/;
const STATUS = /status of a response must be between 200 and 599/;

/** The head of their module. An answer without the library, which would refuse some. */
export const HELPERS = `
const answerBelow = (head) =>
  Convex.asyncSyscall("tidemark/httpAnswer", JSON.stringify({ status: 200, headers: [], bodyBytes: null, isLast: false, ...head }));
`;

export const GROUPS = {
  "HTTP actions end by their limits": [
    ["a loop", `for (;;);`, TIME],
    ["a loop while it reads", `for await (const piece of request.body) for (;;);`, TIME],
    ["a regular expression", `return new Response(String(/^(a+)+$/.test("a".repeat(60) + "!")));`, TIME],
    ["calls without end", `for (;;) await ctx.runQuery("cases:nothing", {});`, TIME],
    ["recursion", `const down = (depth) => 1 + down(depth + 1); return new Response(down(0));`, STACK],
    ["memory", `const kept = []; for (;;) kept.push(new Array(10_000).fill(kept.length));`, MEMORY],
    ["an answer of another server without end", `return new Response(await (await fetch(outside + "/endless")).text());`, MEMORY],
    ["too many calls at once", `await Promise.all(Array.from({ length: 1_500 }, () => ctx.runQuery("cases:nothing", {})));`, /TooManyConcurrentOperations/],
    ["no answer", ``, NO_RESPONSE],
    ["an answer that is none", `return "text";`, NO_RESPONSE],
    ["an answer of an error", `return Response.error();`, NO_RESPONSE],
    ["an answer that was read", `const answer = new Response("a"); await answer.text(); return answer;`, READ_BEFORE],
    ["an answer of which somebody reads", `const answer = new Response("a"); answer.body.getReader(); return answer;`, READ_BEFORE],
    ["an answer that pretends", `return Object.create(Response.prototype);`, NO_RESPONSE],
    ["an answer with a status that there is not", `return new Response("", { status: 1_000 });`, STATUS],
    ["an answer that switches protocols", `return new Response(null, { status: 101 });`, STATUS],
    ["an answer with a header in a header", `return new Response("", { headers: { a: "b\\r\\nc: d" } });`, /Invalid header value/],
    ["an answer that is too large", `return new Response(new Uint8Array((20 << 20) + 1));`, /HttpResponseTooLarge/],
    ["a status that the library refuses", `await answerBelow({ status: 99 });`, /InvalidHttpResponse/],
    ["a header that the library refuses", `await answerBelow({ headers: [["a b", "c\\r\\nd: e"]] });`, /InvalidHttpResponse/],
    ["an answer with more headers than one map takes", `const headers = new Headers(); for (let i = 0; i < 30_000; i++) headers.append("set-cookie", "a=1"); return new Response("", { headers });`, /InvalidHttpResponse/],
    ["a body that is read twice", `await request.text(); return new Response(await request.text());`, /already been read/],
    ["an error of a megabyte", `throw new Error("x".repeat(1 << 20));`, /xxxx/],
    ["null thrown", `throw null;`, /Uncaught Error: null/],
  ],
  "HTTP actions that wait end by their time": [
    ["for a server that never answers", `return fetch(outside + "/silent");`, WAIT],
    ["for the rest of an answer", `return new Response(await (await fetch(outside + "/stops")).text());`, WAIT],
    ["for a timer of weeks", `await new Promise((resolve) => setTimeout(resolve, 2_000_000_000));`, WAIT],
    ["for what can't come", `await new Promise(() => {});`, NEVER],
  ],
  "answers that break off": [
    ["one without end", `return new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) }));`, cut(/HttpResponseTooLarge/)],
    ["one without end, of one large piece after another", `return new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(8 << 20)) }));`, cut(/HttpResponseTooLarge/)],
    ["one without end, of another server", `return fetch(outside + "/endless");`, cut(/HttpResponseTooLarge/)],
    ["one of another server that breaks off", `return fetch(outside + "/breaks");`, cut(/fetch failed/)],
    ["one that is answered twice", `await answerBelow({ bodyBytes: 1_000 }); return new Response("done");`, cut(/answered already/)],
    ["one that takes all memory", `const kept = []; return new Response(new ReadableStream({ start: (to) => to.enqueue(new Uint8Array(1)), pull: () => { for (;;) kept.push(new Uint8Array(65_536)); } }));`, cut(MEMORY)],
    ["one that fails", `return new Response(new ReadableStream({ pull: () => { throw new Error("mine"); } }));`, cut(/mine/)],
    ["one of what is no bytes", `return new Response(new ReadableStream({ start: (to) => to.enqueue("text") }));`, cut(/Uint8Array/)],
  ],
  "answers that break off by the time": [
    ["one of another server that stops", `return fetch(outside + "/stops");`, cut(TIME)],
    ["one that stops", `return new Response(new ReadableStream({ start: (to) => to.enqueue(new Uint8Array(1)) }));`, cut(/timed out|never resolve/)],
    ["one that never begins", `return new Response(new ReadableStream());`, cut(/timed out|never resolve/)],
    ["one that drips", `return new Response(new ReadableStream({ pull: (to) => new Promise((done) => setTimeout(() => done(to.enqueue(new Uint8Array(1))), 50)) }));`, cut(TIME)],
    ["one with a loop in it", `return new Response(new ReadableStream({ start: (to) => to.enqueue(new Uint8Array(1)), pull: () => { for (;;); } }));`, cut(TIME)],
    ["one of pieces of nothing", `return new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(0)) }));`, cut(TIME)],
  ],
  "what goes on after an answer ends by its time": [
    ["a loop", `setTimeout(() => { for (;;); }, 1); return new Response("done");`, answers("done", TIME)],
    ["an interval", `setInterval(() => {}, 10); return new Response("done");`, answers("done", TIME)],
    ["a request without an answer", `fetch(outside + "/silent"); return new Response("done");`, answers("done", TIME)],
    ["an action that waits", `ctx.runAction("cases:waits", { outside }); return new Response("done");`, answers("done", TIME)],
  ],
  "what fails after an answer": [
    ["an error", `setTimeout(() => { throw new Error("late"); }, 1); return new Response("done");`, answers("done", /late/)],
    ["memory", `setTimeout(() => { const kept = []; for (;;) kept.push(new Array(10_000).fill(0)); }, 1); return new Response("done");`, answers("done", MEMORY)],
  ],
  "clients of HTTP actions": [
    ["one whose body has no end, which is read as a whole", `return new Response(await request.text());`, logged(/RequestTooLarge/), "sendsWithoutEnd"],
    ["one whose body has no end, which is read by pieces", `for await (const piece of request.body); return new Response("read");`, logged(/RequestTooLarge/), "sendsWithoutEnd"],
    ["one whose body has no end, which nobody reads", `return new Response("unread");`, logged(ENDS), "sendsWithoutEnd"],
    ["one whose body has no end, which is sent back", `return new Response(request.body);`, logged(/RequestTooLarge|HttpResponseTooLarge/), "sendsWithoutEnd"],
    ["one whose body stops coming", `return new Response(await request.text());`, logged(/RequestCutOff/), "stops"],
    ["one that goes away within its body", `return new Response(await request.text());`, logged(/RequestCutOff/), "leaves"],
    ["one that takes nothing of its answer", `return new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) }));`, logged(ENDS), "takesNothing"],
    ["one that goes away within its answer", `return new Response(new ReadableStream({ pull: (to) => new Promise((done) => setTimeout(() => done(to.enqueue(new Uint8Array(1))), 20)) }));`, logged(ENDS), "leavesAnswer"],
    ["one that goes away from who writes on", `const { readable, writable } = new TransformStream(); const writer = writable.getWriter(); (async () => { for (;;) await writer.write(new Uint8Array(1)).catch(() => {}); })(); return new Response(readable);`, logged(TIME), "leavesAnswer"],
  ],
};
