// An example's page as its developer would serve it, and pictures of it for the documents.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { whenOver } from "./cleanup.mjs";
import { freePorts } from "./ports.mjs";
import { temporaryFolder } from "./tidemark.mjs";

const images = new URL("../../../docs/images/", import.meta.url).pathname;

export const DESKTOP = { width: 1200, height: 760 };
export const PHONE = { width: 390, height: 780 };

/** Builds the page of an example (a path) for this Tidemark and serves it; returns its address. */
export async function serveExample(context, tidemark, example) {
  const folder = await temporaryFolder(context);
  const vite = join(example, "node_modules/.bin/vite");
  const environment = { ...process.env, VITE_CONVEX_URL: tidemark.url };
  const options = { cwd: example, env: environment, stdio: ["ignore", "pipe", "pipe"] };
  const build = spawn(vite, ["build", "--emptyOutDir", "--outDir", folder], options);
  let printed = "";
  build.stderr.on("data", (text) => (printed += text));
  const [code] = await once(build, "close");
  assert.equal(code, 0, `vite build failed:\n${printed}`);

  const [port] = await freePorts(1);
  const preview = spawn(vite, ["preview", "--strictPort", "--host", "127.0.0.1", "--port", `${port}`, "--outDir", folder], options);
  whenOver(context, async () => {
    preview.kill();
    await once(preview, "close");
  });
  await new Promise((resolve, reject) => {
    preview.stdout.on("data", (text) => `${text}`.includes(`${port}`) && resolve());
    preview.once("exit", (exit) => reject(new Error(`vite preview ended with ${exit}`)));
  });
  return `http://127.0.0.1:${port}/`;
}

/** With UPDATE_SCREENSHOTS=1, what the page shows becomes docs/images/<name>.png. */
export async function screenshot(page, name) {
  if (process.env.UPDATE_SCREENSHOTS === "1") {
    await mkdir(images, { recursive: true });
    await page.waitForTimeout(400); // until what has just arrived stands still
    await page.screenshot({ path: join(images, `${name}.png`) });
  }
}
