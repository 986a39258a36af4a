// The rules that apps rely on, one line each, through every official client: npm over HTTP and WebSocket, Python, Rust.
// `cargo run -p xtask -- end-to-end conformance.test.mjs --test-name-pattern=values` runs those whose names match.
import { after, describe, test } from "node:test";
import calls from "./conformance/calls.mjs";
import documents from "./conformance/documents.mjs";
import later from "./conformance/later.mjs";
import live from "./conformance/live.mjs";
import values from "./conformance/values.mjs";
import { CLIENTS } from "./harness/clients.mjs";
import { pushApp } from "./harness/project.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const LIMIT = { timeout: 300_000 };
const GROUPS = [values, documents, calls, later, live];

const file = { after };
const tidemark = await startTidemark(file);
await pushApp(file, tidemark, "conformance");
const other = await CLIENTS["npm, HTTP"](file, tidemark.url);
let names = 0;
const unique = (name) => `${name} ${++names}`;

for (const [name, connect] of Object.entries(CLIENTS)) {
  const client = await connect(file, tidemark.url);
  for (const { group, live, rules } of GROUPS.filter(({ live }) => !live || client.subscribe)) {
    describe(`${group} (${name})`, () => {
      for (const { rule, check } of rules) {
        test(rule, LIMIT, () => check({ client, other, unique }));
      }
    });
  }
}
