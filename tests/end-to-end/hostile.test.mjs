// Functions that would bring a host down if it let them.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { callFunction } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

/** The time limit of a function is 4 s of a processor; a busy machine takes longer for that. */
const LIMIT = { timeout: 300_000 };

const file = { after };
const tidemark = await startTidemark(file);
await pushApp(file, tidemark, "hostile");

for (const [name, error] of Object.entries({
  loopForever: /timed out/,
  loopInPromises: /timed out/,
  allocateWithoutEnd: /out of memory|OutOfMemory|memory limit/i,
  growString: /out of memory|OutOfMemory|memory limit|Invalid string length|string too long/i,
  neverResolve: /will never resolve/,
  recurseWithoutEnd: /Maximum call stack size exceeded|stack overflow/i,
  backtrack: /timed out/,
  multiplyBigInts: /timed out|out of memory|OutOfMemory|BigInt/i,
  throwDeepObject: /Uncaught/,
})) {
  test(`${name} gets its error, and the next call works`, LIMIT, async () => {
    const { status, body } = await callFunction(tidemark, "query", `hostile:${name}`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.equal(body.status, "error", JSON.stringify(body));
    assert.match(body.errorMessage, error);
    await assertServes();
  });
}

test("an honest call is answered while a hostile one runs", LIMIT, async () => {
  const hostile = callFunction(tidemark, "query", "hostile:loopForever");
  await assertServes();
  const { body } = await hostile;
  assert.equal(body.status, "error", JSON.stringify(body));
});

test("nothing that a call leaves behind reaches the next one", LIMIT, async () => {
  for (let round = 0; round < 20; round++) {
    assert.equal((await callFunction(tidemark, "mutation", "hostile:poison")).body.status, "success");
    const { body } = await callFunction(tidemark, "query", "hostile:lookForPoison");
    assert.deepEqual(body.value, [], "what an earlier call left behind");
  }
});

async function assertServes() {
  const { body } = await callFunction(tidemark, "query", "hostile:hello", { name: "harbour" });
  assert.deepEqual([body.status, body.value], ["success", "hello harbour"]);
}
