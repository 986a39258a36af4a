// What the studio example needs beside a Tidemark.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { whenOver } from "./cleanup.mjs";
import { freePorts } from "./ports.mjs";
import { studio } from "./project.mjs";
import { parseEnvironment, temporaryFolder } from "./tidemark.mjs";

/** The program that the app calls and that calls it, with the keys of both sides. */
export async function startServices(context) {
  const folder = await temporaryFolder(context);
  const file = join(folder, "studio.env");
  const url = `http://127.0.0.1:${(await freePorts(1))[0]}`;
  const keys = spawn(process.execPath, ["keys.mjs", file, url], { cwd: studio, stdio: "inherit" });
  assert.deepEqual(await once(keys, "exit"), [0, null]);
  const variables = parseEnvironment(await readFile(file, "utf8"));
  const words = [`--env-file=${file}`, "services.mjs", new URL(url).port];
  const child = spawn(process.execPath, words, { cwd: studio, stdio: ["ignore", "pipe", "inherit"] });
  const services = { url, file, secret: variables.STUDIO_WEBHOOK_SECRET, output: "" };
  whenOver(context, async () => {
    child.kill();
    await once(child, "close");
  });
  await new Promise((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text) => {
      services.output += text;
      resolve();
    });
    child.once("exit", (code) => reject(new Error(`services.mjs ended with ${code}`)));
  });
  return services;
}
