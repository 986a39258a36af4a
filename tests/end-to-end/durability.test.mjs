// Below kill -9, which keeps what the system has buffered: a disk that refuses to make a write durable.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { callFunction } from "./harness/functions.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

const EXIT_MS_MAX = 60_000;
const APPENDS_MAX = 200;

for (const number of [1, 2, 7]) {
  test(`when sync ${number} of the disk fails, the process ends and never acknowledges the commit`, { timeout: 300_000 }, async (context) => {
    const folder = await temporaryFolder(context);
    const library = join(folder, "fail-sync.so");
    const source = new URL("./faults/fail-sync.c", import.meta.url).pathname;
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source, "-ldl"]);
    const armed = join(folder, "armed");
    const tidemark = await startTidemark(context, {
      environment: { LD_PRELOAD: library, FAIL_SYNC_ARMED: armed, FAIL_SYNC_NUMBER: `${number}` },
      allowedInLog: [/sync|durab|Input\/output error|os error 5/i],
    });
    await pushApp(context, tidemark, "journal");
    assert.equal(await append(tidemark, "before"), 1);

    writeFileSync(armed, "");
    const acknowledged = ["before"];
    for (let index = 1; index <= APPENDS_MAX; index++) {
      const failedBefore = existsSync(`${armed}.failed`);
      const answer = await append(tidemark, `entry ${index}`).catch(lostConnection);
      if (answer === null) {
        break;
      }
      assert.ok(!failedBefore, "a commit was acknowledged after a sync had failed");
      acknowledged.push(`entry ${index}`);
    }
    assert.ok(existsSync(`${armed}.failed`), `the disk never failed in ${APPENDS_MAX} appends`);
    const deadline = setTimeout(() => tidemark.kill(), EXIT_MS_MAX);
    const code = await tidemark.ended();
    clearTimeout(deadline);
    assert.notEqual(code, null, `the process still ran ${EXIT_MS_MAX} ms after the failed sync, or was ended by a signal`);
    assert.notEqual(code, 0, "the process ended as if all were well");

    // With a disk that works, everything acknowledged is there. The commit in doubt may be: it was never answered.
    await tidemark.start();
    const { body } = await callFunction(tidemark, "query", "journal:list");
    assert.deepEqual(body.value.slice(0, acknowledged.length), acknowledged);
    assert.ok(body.value.length <= acknowledged.length + 1, `there is more than was sent: ${body.value}`);
  });
}

/** What fetch throws when the other side is gone before it answered; any other error is the test's. */
function lostConnection(error) {
  if (error instanceof TypeError) {
    return null;
  }
  throw error;
}

async function append(tidemark, text) {
  const { status, body } = await callFunction(tidemark, "mutation", "journal:append", { text });
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.status, "success", JSON.stringify(body));
  return body.value;
}
