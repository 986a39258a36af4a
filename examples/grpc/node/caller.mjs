// Calls the chat's functions over gRPC: `node caller.mjs AUTHOR TEXT`.
import { randomUUID } from "node:crypto";
import grpc from "@grpc/grpc-js";
import { connect, decode, fieldsOf } from "./deployment.mjs";

const CALL_MS_MAX = 10_000;
const [author, text] = process.argv.slice(2);
const deployment = connect(process.env.TIDEMARK_GRPC_URL ?? "http://127.0.0.1:3212");
const session = randomUUID();
let requests = 0;

const call = (path, args) => ({ path, arguments: fieldsOf(args) });

/** A call that is answered once. A mutation whose answer is lost is sent again: its key lets it take effect once. */
async function ask(method, request) {
  for (;;) {
    try {
      return await deployment[method](request, { deadline: Date.now() + CALL_MS_MAX });
    } catch (error) {
      const isLost = error.code === grpc.status.UNAVAILABLE || error.code === grpc.status.DEADLINE_EXCEEDED;
      if (method !== "Mutation" || !isLost) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

/** What a function returned; what it threw is thrown. */
function valueOf(result) {
  if (result.result === "error") {
    throw Object.assign(new Error(result.error.message), { data: result.error.data && decode(result.error.data) });
  }
  return decode(result.value);
}

async function mutate(path, args) {
  const idempotency_key = { session_id: session, request_id: requests++ };
  const { result, timestamp } = await ask("Mutation", { call: call(path, args), idempotency_key });
  return { value: valueOf(result), timestamp };
}

const { value: channel } = await mutate("channels:open", { name: "grpc" });
const authors = deployment.Subscribe({ call: call("messages:authors", { channel }) });
let sent = null;
for await (const { timestamp, result } of authors) {
  // A heartbeat has no result.
  if (!result) continue;
  if (!sent || BigInt(timestamp) >= BigInt(sent.timestamp)) {
    console.log(`channel ${channel}: ${valueOf(result).join(", ") || "nobody"} has written`);
  }
  if (!sent) {
    sent = await mutate("messages:send", { channel, author, body: text });
    console.log(`sent ${sent.value} at ${sent.timestamp}`);
  } else if (BigInt(timestamp) >= BigInt(sent.timestamp)) {
    break;
  }
}
// Leaving the loop does not end the call.
authors.cancel();

const calls = [call("channels:list", {}), call("messages:authors", { channel })];
const batch = await ask("QueryBatch", { calls, at_timestamp: sent.timestamp });
const [channels, writers] = batch.results.map(valueOf);
console.log(`at that moment: ${channels.length} channels, ${writers.length} authors`);

try {
  await mutate("messages:send", { channel, author, body: "" });
} catch (error) {
  console.log(`refused: ${JSON.stringify(error.data)}`);
}
deployment.close();
