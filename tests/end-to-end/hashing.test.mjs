// Packages that hash passwords are recognised, and their loops are native. With and without that, and in Node.js, hashes are the same;
// functions that pass what the packages never pass, or replace what they use, see what the packages' own code does.
import assert from "node:assert/strict";
import { scryptSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import bcrypt3 from "bcryptjs";
import bcrypt2 from "bcryptjs-2";
import { callFunction } from "./harness/functions.mjs";
import { openedPackages, PASSWORD_PACKAGES } from "./harness/hashing.mjs";
import { createProject } from "./harness/project.mjs";
import { startTidemark, temporaryFolder } from "./harness/tidemark.mjs";

/** Both versions of esbuild that the command line tools bring along. */
const VERSIONS = ["convex-1-28", "convex"];
const SEED = Number(process.env.HASHING_SEED ?? Math.floor(Math.random() * 1e6));
const CALLS = Number(process.env.HASHING_CALLS ?? 3);
/** Functions that are recognised in a bundle of the app, with how many packages have one. */
const RECOGNISED = {
  Rotate: 3, Salsa: 3, BlockMix: 3, ScryptInSteps: 1, ScryptAtOnce: 1, ScryptAtOnceMasked: 1, ScryptStep: 1, ScryptStepMasked: 1,
  StreamToWord: 2, Encipher: 2, Key: 2,
};
/** What lucia hashes passwords with, and better-auth. */
const USUAL = { N: 16384, r: 16, p: 1, dkLen: 64 };
const MEMORY = { maxmem: 2 ** 30 };

for (const convex of VERSIONS) {
  test(`${convex}: native or not, and in Node.js, passwords have the same hashes`, { timeout: 600_000 }, async (context) => {
    console.log(`HASHING_SEED=${SEED} node --test hashing.test.mjs`);
    const configuration = join(await temporaryFolder(context), "tidemark.toml");
    await writeFile(configuration, "[limits.function]\nuser_time_ms_max = 60_000\n[limits.log]\nwindow_age_ms_min = 120_000\n");
    const [native, packages] = await Promise.all([
      serve(context, convex, { TIDEMARK_NATIVE_VALUES: "true" }),
      serve(context, convex, { TIDEMARK_NATIVE_VALUES: "false", TIDEMARK_CONFIG: configuration }),
    ]);
    const both = async (path, args) => {
      const [fast, slow] = await Promise.all([native, packages].map((tidemark) => outcome(tidemark, "query", path, args)));
      assert.deepEqual(fast, slow, `${path} ${JSON.stringify(args)}`);
      assert.equal(fast.status, "success", JSON.stringify(fast));
      return fast.value;
    };
    const draw = randomOf(SEED);
    for (let call = 0; call < CALLS; call++) {
      const [password, salt] = [textOf(draw), textOf(draw)];
      const dkLen = draw(3) === 0 ? {} : { dkLen: 1 + draw(100) };
      const parameters = { N: 2 ** (1 + draw(6)), r: 1 + draw(4), p: 1 + draw(3), ...dkLen };
      const expected = scryptSync(password, salt, parameters.dkLen ?? 32, { ...parameters, ...MEMORY }).toString("hex");
      for (const [way, key] of Object.entries(await both("passwords:derive", { password, salt, parameters }))) {
        assert.equal(key, expected, `${way} ${JSON.stringify({ password, salt, parameters })}`);
      }
      const settings = `$2${"aby"[draw(3)]}$0${4 + draw(2)}$${bcrypt3.encodeBase64(Array.from({ length: 16 }, () => draw(256)), 16)}`;
      const hashes = [bcrypt3, bcrypt2].map((bcrypt) => bcrypt.hashSync(password, settings));
      assert.deepEqual(await both("passwords:crypt", { password, salt: settings }), hashes, JSON.stringify({ password, settings }));
    }
    const told = [];
    for (let call = 0; call < CALLS; call++) {
      told.push(...(await both("kernels:compare", { seed: SEED + call, count: 60 })));
      told.push(...(await both("kernels:compareKeys", { seed: SEED + call, count: 6 })));
    }
    // Else it would compare too little.
    const errors = told.filter((text) => /^\w*Error: /.test(text)).length;
    assert.ok(errors > CALLS && told.length > 10 * errors, `${errors} of ${told.length} are errors`);
    const plain = await both("changes:changed", { name: "nothing" });
    let differences = 0;
    for (const name of await both("changes:list", {})) {
      const changed = await both("changes:changed", { name });
      differences += Number(JSON.stringify(changed) !== JSON.stringify(plain));
    }
    assert.ok(differences >= 10, `only ${differences} changes make a difference`);
    for (const name of await both("changes:listOptions", {})) {
      await both("changes:withOptions", { name });
    }
    const [inSteps, ...others] = await both("changes:turns", {});
    // Each of lucia's two loops waits as often as it mixes, but for the last row.
    assert.ok(inSteps >= 2 * (16 + 15) && inSteps < 10_000 && others.every((count) => count < 10_000), `${inSteps} ${others}`);
    const [other, same] = await both("changes:others", {});
    assert.notEqual(other, same);

    const plainLog = (tidemark) => tidemark.log.replace(/\x1b\[[0-9;]*m/g, "");
    const recognised = (tidemark) => [...plainLog(tidemark).matchAll(/was recognised.*?(\w+)$/gm)].map(([, name]) => name);
    for (const [name, count] of Object.entries(RECOGNISED)) {
      const found = recognised(native).filter((known) => known === name).length;
      assert.ok(found >= count, `${found} of ${count} functions were recognised as ${name}`);
    }
    assert.deepEqual(recognised(packages), []);
    if (convex === VERSIONS.at(-1)) {
      await usualPasswords(native);
    }
  });
}

/** With the parameters that apps use, within the usual limits of a mutation. */
async function usualPasswords(tidemark) {
  const must = async (path, args) => {
    const begin = performance.now();
    const { status, value, ...rest } = await outcome(tidemark, "mutation", path, args);
    assert.equal(status, "success", `${path} ${JSON.stringify(args)}: ${JSON.stringify(rest)}`);
    console.log(`${path} ${args.which ?? ""}: ${Math.round(performance.now() - begin)} ms`);
    return value;
  };
  const [password, salt] = ["correct horse b\u00e4ttery staple", "0123456789abcdef"];
  const derived = (salt, parameters) => scryptSync(password.normalize("NFKC"), salt, parameters.dkLen, { ...parameters, ...MEMORY }).toString("hex");
  const hash = await must("passwords:signUp", { name: "ada", password });
  assert.equal(hash.split(":")[1], derived(hash.split(":")[0], USUAL));
  assert.equal(await must("passwords:signIn", { name: "ada", password }), true);
  assert.equal(await must("passwords:signIn", { name: "ada", password: `${password} ` }), false);
  const [legacy, isVerified] = await must("passwords:legacy", { password });
  assert.equal(legacy.split(":")[2], derived(legacy.split(":")[1], USUAL));
  assert.equal(isVerified, true);
  for (const which of ["noble1", "nobleAsync1", "noble2", "nobleAsync2"]) {
    assert.equal(await must("passwords:deriveOne", { which, password, salt, parameters: USUAL }), derived(salt, USUAL));
  }
  for (const [which, bcrypt] of [[2, bcrypt2], [3, bcrypt3]]) {
    const [crypted, ...verified] = await must("passwords:cryptOne", { which, password, rounds: 10 });
    assert.deepEqual(verified, [true, false]);
    assert.ok(bcrypt.compareSync(password, crypted));
  }
  const later = await outcome(tidemark, "action", "passwords:cryptInAction", { password, rounds: 6 });
  assert.ok(bcrypt3.compareSync(password, later.value[0]) && later.value[1], JSON.stringify(later));
  const refused = await outcome(tidemark, "mutation", "passwords:cryptInMutation", { password, rounds: 6 });
  assert.match(refused.error, /NoSleepInQueriesOrMutations|setImmediate/, JSON.stringify(refused));
  // Limits hold for what is native as for all else.
  const hostile = [
    ["passwords:cryptOne", { which: 3, password, rounds: 24 }, /Function execution timed out/],
    ["passwords:deriveOne", { which: "lucia", password, salt, parameters: { ...USUAL, p: 400 } }, /Function execution timed out/],
    ["passwords:deriveOne", { which: "noble2", password, salt, parameters: { ...USUAL, p: 400 } }, /Function execution timed out/],
    ["passwords:deriveOne", { which: "nobleAsync1", password, salt, parameters: { ...USUAL, N: 2 ** 18 } }, /memory/i],
  ];
  for (const [path, args, limit] of hostile) {
    const { status, error } = await outcome(tidemark, "mutation", path, args);
    assert.equal(status, "error", path);
    assert.match(error, limit);
  }
}

async function serve(context, convex, environment) {
  const tidemark = await startTidemark(context, { environment: { ...environment, TIDEMARK_LOG: "warn,isolate::library=debug" } });
  const project = await createProject(context, tidemark, { convex, app: "hashing", files: await openedPackages(), also: PASSWORD_PACKAGES });
  await project.mustRun("deploy", "--typecheck", "disable");
  return tidemark;
}

async function outcome(tidemark, kind, path, args) {
  const { body } = await callFunction(tidemark, kind, path, args);
  return { status: body.status, value: body.value, error: body.errorMessage?.replace(/\[Request ID: \w+\]/, "") };
}

function randomOf(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function textOf(draw) {
  const characters = ["a", "B", "7", " ", "\u00e9", "\u4f60", "\u{1f600}", "$", "\n"];
  return Array.from({ length: draw(draw(4) ? 20 : 120) }, () => characters[draw(characters.length)]).join("");
}
