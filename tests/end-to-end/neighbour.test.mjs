// Well-behaved functions beside hostile ones in the same server: they are answered, and soon. How soon is measured by bench/neighbour.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { callFunction } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 600_000 };
const ROUNDS = 3;
/** Of each kind in a phase, unless the phase has lasted for too long on a slow machine. */
const CALLS = 100;
const PHASE_MS_MAX = 30_000;
/** Hostile calls at once: fewer than the threads that one deployment may have. */
const HOSTILE = 4;
/** A hostile call may take that much of a processor. One that held up others would do so for as long. */
const USER_TIME_MS = 2_000;
/** Only what hangs, or stands in line behind hostile calls one after the other, exceeds it. */
const LATE_MS = 30_000;

const HOSTILE_FUNCTIONS = {
  loopForever: /timed out/,
  loopInPromises: /timed out/,
  allocateWithoutEnd: /FunctionOutOfMemory/,
  growString: /FunctionOutOfMemory|string/i,
  neverResolve: /will never resolve/,
  recurseWithoutEnd: /Maximum call stack size exceeded/,
  backtrack: /timed out/,
  multiplyBigInts: /timed out|FunctionOutOfMemory|BigInt/i,
  throwDeepObject: /Uncaught/,
};

test("every call is answered, and none late, while hostile functions run beside it", LIMIT, async (context) => {
  const configuration = join(await temporaryFolder(context), "tidemark.toml");
  await writeFile(configuration, `[limits.function]\nuser_time_ms_max = ${USER_TIME_MS}\n`);
  const tidemark = await startTidemark(context, { environment: { TIDEMARK_CONFIG: configuration } });
  await pushApp(context, tidemark, "hostile");
  const messages = [];

  /** How long the calls of a phase took, those of each kind in their order. */
  async function phase() {
    const took = { query: [], mutation: [] };
    const call = async (kind, path, args) => {
      const begin = performance.now();
      const { status, body } = await callFunction(tidemark, kind, `neighbour:${path}`, args);
      took[kind].push(performance.now() - begin);
      assert.deepEqual([status, body.status], [200, "success"], JSON.stringify(body));
      return body.value;
    };
    const begin = performance.now();
    for (let number = 0; number < CALLS && performance.now() - begin < PHASE_MS_MAX; number++) {
      const text = `message ${messages.length}`;
      await call("mutation", "add", { text });
      messages.unshift(text);
      assert.deepEqual(await call("query", "latest", {}), messages.slice(0, 10));
    }
    return took;
  }

  /** The same beside hostile calls. */
  async function loadedPhase(round) {
    let isOver = false;
    const ended = new Set();
    const caller = async (first) => {
      const functions = Object.entries(HOSTILE_FUNCTIONS);
      for (let number = first; !isOver; number++) {
        const [name, error] = functions[number % functions.length];
        const { status, body } = await callFunction(tidemark, "query", `hostile:${name}`);
        assert.equal(status, 200, JSON.stringify(body));
        assert.match(body.errorMessage ?? "", error, name);
        ended.add(name);
      }
    };
    const callers = Promise.all(Array.from({ length: HOSTILE }, (_, number) => caller(number * 2 + round)));
    callers.catch(() => {});
    await sleep(100);
    const took = await Promise.race([phase(), callers.then(() => assert.fail("they go on"))]);
    isOver = true;
    await callers;
    assert.ok(ended.size >= HOSTILE, `only ${[...ended]} ended`);
    return took;
  }

  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({ quiet: await phase(), loaded: await loadedPhase(round) });
  }
  for (const kind of ["query", "mutation"]) {
    const p99 = (which) => rounds.map((round) => at(round[which][kind], 0.99)).sort((one, other) => one - other)[ROUNDS >> 1];
    context.diagnostic(`p99 of a ${kind}: ${p99("quiet").toFixed(1)} ms, ${p99("loaded").toFixed(1)} ms beside hostile functions`);
    const latest = Math.max(...rounds.flatMap(({ quiet, loaded }) => [...quiet[kind], ...loaded[kind]]));
    assert.ok(latest < LATE_MS, `a ${kind} took ${latest} ms`);
  }
  assert.equal((await callFunction(tidemark, "query", "neighbour:count")).body.value, messages.length);
});

/** What this part of all is below. */
function at(values, part) {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) * part)];
}
