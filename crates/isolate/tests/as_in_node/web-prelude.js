// What the checks of the web platform use.
// The code of the error, or that there was none.
const codeOf = (f) => f().then(() => "yes", (error) => error.code ?? String(error));
const bytes = (...list) => new Uint8Array(list);
const utf8 = (text) => new TextEncoder().encode(text);
const text = (given) => new TextDecoder().decode(given);
// The name of the error, since texts differ.
const fails = async (f) => {
  try {
    await f();
  } catch (error) {
    return error?.name ?? `thrown: ${String(error)}`;
  }
  return "nothing";
};
const of = (...chunks) => new ReadableStream({ start(c) { chunks.forEach((chunk) => c.enqueue(chunk)); c.close(); } });
const ofBytes = (...chunks) => new ReadableStream({ type: "bytes", start(c) { chunks.forEach((chunk) => c.enqueue(chunk)); c.close(); } });
const collect = async (iterable) => { const all = []; for await (const item of iterable) all.push(item); return all; };
const sink = (into, strategy) => new WritableStream({ write(chunk) { into.push(chunk); }, close() { into.push("closed"); }, abort(reason) { into.push(`aborted ${reason?.message ?? reason}`); } }, strategy);
const turns = async (count = 30) => { while (count-- > 0) await null; };
const state = async (promise) => { let state = "pending"; promise.then(() => { state = "fulfilled"; }, () => { state = "rejected"; }); await turns(); return state; };
const post = (type, body) => new Request("http://a/", { method: "POST", headers: { "content-type": type }, body });
const boundary = "----formdata-of-a-test-0123456789";
const multipart = (lines, given = boundary) => new Response(lines.join("\r\n"), { headers: { "content-type": `multipart/form-data; boundary=${given}` } }).formData();
const shown = async (form) => Promise.all([...form].map(async ([name, value]) => typeof value === "string" ? [name, value] : [name, value.name, value.type, value.size, await value.text()]));
const written = async (form) => { const response = new Response(form); const mark = response.headers.get("content-type").split("boundary=")[1]; return (await response.text()).replaceAll(mark, "MARK"); };
