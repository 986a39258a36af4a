// The rules that apps rely on, one line each, through every official client: npm over HTTP and WebSocket, Python, Rust.
// `cargo run -p xtask -- end-to-end conformance.test.mjs --test-name-pattern=values` runs those whose names match.
import { after, describe, test } from "node:test";
import actions from "./conformance/actions.mjs";
import addresses from "./conformance/addresses.mjs";
import api from "./conformance/api.mjs";
import calls from "./conformance/calls.mjs";
import crons from "./conformance/crons.mjs";
import determinism from "./conformance/determinism.mjs";
import documents from "./conformance/documents.mjs";
import files from "./conformance/files.mjs";
import http from "./conformance/http.mjs";
import identity from "./conformance/identity.mjs";
import live from "./conformance/live.mjs";
import modules from "./conformance/modules.mjs";
import native from "./conformance/native.mjs";
import queries from "./conformance/queries.mjs";
import results from "./conformance/results.mjs";
import schedules from "./conformance/schedules.mjs";
import { startServer } from "./conformance/server.mjs";
import settings from "./conformance/settings.mjs";
import tokens from "./conformance/tokens.mjs";
import transactions from "./conformance/transactions.mjs";
import validators from "./conformance/validators.mjs";
import values from "./conformance/values.mjs";
import variables from "./conformance/variables.mjs";
import { CLIENTS } from "./harness/clients.mjs";

const LIMIT = { timeout: 300_000 };
/** Of these each client is the subject. */
const GROUPS = [values, validators, documents, queries, transactions, modules, calls, results, determinism, actions, native, schedules, files, settings, identity, live];
/** Of these none is. */
const ADDRESSES = [api, http, addresses, variables, tokens, crons];

const file = { after };
const server = await startServer(file);
const other = await CLIENTS["npm, HTTP"](file, server.url);
let names = 0;
const unique = (name) => `${name} ${++names}`;

function show(title, rules, about) {
  describe(title, () => {
    for (const { rule, check } of rules) {
      test(rule, LIMIT, (context) => check({ ...about(context), other, server, unique }));
    }
  });
}

for (const [name, connectTo] of Object.entries(CLIENTS)) {
  const client = await connectTo(file, server.url);
  for (const { group, rules } of GROUPS.filter(({ live }) => !live || client.subscribe)) {
    show(`${group} (${name})`, rules, (context) => ({ client, connect: () => connectTo(context, server.url) }));
  }
}
for (const { group, rules } of ADDRESSES) {
  show(group, rules, (context) => ({ client: other, connect: (name) => CLIENTS[name](context, server.url) }));
}
