// All rules, as tests: each with every official client that is its subject.
import { describe, test } from "node:test";
import { CLIENTS } from "../harness/clients.mjs";
import actions from "./actions.mjs";
import addresses from "./addresses.mjs";
import api from "./api.mjs";
import calls from "./calls.mjs";
import crons from "./crons.mjs";
import determinism from "./determinism.mjs";
import documents from "./documents.mjs";
import files from "./files.mjs";
import http from "./http.mjs";
import identity from "./identity.mjs";
import live from "./live.mjs";
import modules from "./modules.mjs";
import native from "./native.mjs";
import queries from "./queries.mjs";
import results from "./results.mjs";
import schedules from "./schedules.mjs";
import settings from "./settings.mjs";
import tokens from "./tokens.mjs";
import transactions from "./transactions.mjs";
import validators from "./validators.mjs";
import values from "./values.mjs";
import variables from "./variables.mjs";

const LIMIT = { timeout: 300_000 };
/** Of these each client is the subject. */
const GROUPS = [values, validators, documents, queries, transactions, modules, calls, results, determinism, actions, native, schedules, files, settings, identity, live];
/** Of these none is. */
const ADDRESSES = [api, http, addresses, variables, tokens, crons];

/**
 * Holds a server (server.mjs) to the rules. `clients` are those that are their subject; `connectTo` connects one by its name, and `hold` runs a
 * rule's check, given the rule, the test's context and what the check is given: both may do more than that.
 */
export async function holdToRules(file, server, { clients = Object.keys(CLIENTS), connectTo = connect, hold = holdOnce } = {}) {
  const other = await connectTo("npm, HTTP", file, server.url);
  let names = 0;
  const unique = (name) => `${name} ${++names}`;

  const show = (title, rules, about) =>
    describe(title, () => {
      for (const rule of rules) {
        test(rule.rule, LIMIT, (context) => hold(rule, context, { ...about(context), other, server, unique }));
      }
    });

  for (const name of clients) {
    const client = await connectTo(name, file, server.url);
    for (const { group, rules } of GROUPS.filter(({ live }) => !live || client.subscribe)) {
      show(`${group} (${name})`, rules, (context) => ({ client, connect: () => connectTo(name, context, server.url) }));
    }
  }
  for (const { group, rules } of ADDRESSES) {
    show(group, rules, (context) => ({ client: other, connect: (name) => connectTo(name, context, server.url) }));
  }
}

const connect = (name, context, url) => CLIENTS[name](context, url);
const holdOnce = (rule, _context, given) => rule.check(given);
