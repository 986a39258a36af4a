// Prints the digests of the functions that hash passwords (crates/isolate/src/library.rs), package by package, as the command line tools
// bundle them, and whether this Tidemark knows them: `node digests.mjs`, with `--texts` also their bytecode. For a new version
// of a package, install it here, and enter what is new there with the variables of its closure in the order of their first use.
import { createProject } from "./harness/project.mjs";
import { openedPackages, PASSWORD_PACKAGES } from "./harness/hashing.mjs";
import { startTidemark } from "./harness/tidemark.mjs";
import { test } from "node:test";

const ENTRY = `import { queryGeneric as query } from "convex/server";
import * as all from "../FILE";
export const run = query({ args: {}, handler: () => Object.keys(all) });
`;

/** What a function is, by the first line of its text (guest/values.h) and what it names. */
const SIGNS = [
  ["Rotate", (form, text) => form === "sync 2 0" && usesNumber(text, 32, 5)],
  ["Salsa", (form) => form === "sync 6 1"],
  ["BlockMix", (form, text) => form === "sync 5 1" && usesNumber(text, 16)],
  ["ScryptInSteps", (form, text) => form === "async 3 3" && text.includes("dkLen")],
  ["ScryptAtOnce", (form, text) => form === "sync 3 4" && text.includes("blockSize32")],
  ["ScryptStep", (form, text) => form === "sync 0 9" && usesNumber(text, 16)],
  ["StreamToWord", (form, text) => form === "sync 2 0" && text.includes("offp")],
  ["Encipher", (form) => form === "sync 4 1"],
  ["Key", (form, text) => form === "sync 3 2" && text.includes("offp")],
];

for (const convex of ["convex-1-28", "convex"]) {
  for (const [file, text] of Object.entries(await openedPackages())) {
    if (!file.includes("other")) {
      await print(convex, file, text);
    }
  }
}

function print(convex, file, text) {
  return test(`${convex} ${file}`, async (context) => {
    const environment = { TIDEMARK_LOG: "warn,isolate::library=trace" };
    // Texts have lines of their own, such as the name of a level of logs.
    const tidemark = await startTidemark(context, { environment, allowedInLog: [/^\d+ (WARN|ERROR)\0/] });
    const files = { [file]: text, "convex/entry.ts": ENTRY.replace("FILE", file) };
    const project = await createProject(context, tidemark, { convex, files, also: PASSWORD_PACKAGES });
    await project.mustRun("deploy", "--typecheck", "disable");
    const seen = new Set();
    const asked = /asked about a function digest="?(\w+)"? text=([^]*)/;
    for (const part of tidemark.log.replace(/\x1b\[[0-9;]*m/g, "").split(/(?=asked about a function)/)) {
      const [, digest, rest] = asked.exec(part) ?? [];
      const name = digest && !seen.has(digest) && nameOf(rest);
      if (name) {
        seen.add(digest);
        console.log(`${digest} ${name} of ${file} by ${convex}: ${part.includes("was recognised") ? "known" : "new"}`);
        if (process.argv.includes("--texts")) {
          console.log(rest.replaceAll("\0", "|"));
        }
      }
    }
  });
}

function nameOf(text) {
  const [, , kind, , count, , , closure] = text.split("\n")[0].split(" ");
  const form = `${kind === "0" ? "sync" : "async"} ${count} ${closure}`;
  return SIGNS.find(([, isIt]) => isIt(form, text))?.[0];
}

/** Whether an instruction pushes a number, from the `first` on: what rotates to the right begins with it. */
function usesNumber(text, number, first = 0) {
  return text.split("\n").slice(first).some((line) => new RegExp(`^\\d+ ${number}$`).test(line));
}
