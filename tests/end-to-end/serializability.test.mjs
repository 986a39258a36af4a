// Random transactions under load, judged by the checker (tests/checker). SEED=n repeats a run's choices, TRANSACTIONS=n
// makes it shorter or longer, HISTORY=file keeps what the checker was given.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { randomFrom, runLoad } from "./harness/load.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark, temporaryFolder, tidemarkBinary } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 900_000 };
const TRANSACTIONS = Number(process.env.TRANSACTIONS ?? 3_000);

function chooseSeed(context) {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
  context.diagnostic(`SEED=${seed}`);
  return seed;
}

async function assertAccepted(context, history, seed) {
  const file = process.env.HISTORY ?? join(await temporaryFolder(context), "history.jsonl");
  await writeFile(file, history.map((transaction) => `${JSON.stringify(transaction)}\n`).join(""));
  const checker = join(dirname(tidemarkBinary()), "checker");
  const { status, stdout, stderr, error } = spawnSync(checker, [file], { encoding: "utf8" });
  context.diagnostic(stdout.trim());
  assert.equal(status, 0, `SEED=${seed}\n${stdout}${stderr}${error ?? ""}`);
}

const count = (history, outcome) => history.filter((transaction) => transaction.outcome === outcome).length;

test(`the history of ${TRANSACTIONS} conflicting transactions is strictly serializable`, LIMIT, async (context) => {
  const seed = chooseSeed(context);
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "registers");
  const history = await runLoad(tidemark, { seed, transactions: TRANSACTIONS });
  assert.equal(count(history, "unknown"), 0);
  assert.ok(count(history, "committed") > TRANSACTIONS * 0.85, "most transactions failed");
  await assertAccepted(context, history, seed);
});

test("so is that of a run in which the process is killed three times", LIMIT, async (context) => {
  const seed = chooseSeed(context);
  const random = randomFrom(seed);
  const tidemark = await startTidemark(context);
  await pushApp(context, tidemark, "registers");
  const kills = [1, 2, 3].map((part) => (part * TRANSACTIONS) / 4 + random.below(100));
  let restart = Promise.resolve();
  const history = await runLoad(tidemark, {
    seed,
    transactions: TRANSACTIONS,
    onProgress: (done) => {
      if (done === kills[0]) {
        kills.shift();
        restart = tidemark.kill().then(() => tidemark.start());
      }
    },
    ready: () => restart,
  });
  assert.equal(kills.length, 0, "the process was not killed as often as meant");
  assert.ok(count(history, "unknown") > 0, "no transaction was under way when the process was killed");
  await assertAccepted(context, history, seed);
});
