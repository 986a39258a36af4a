// A registry of npm packages on this machine.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { whenOver } from "./cleanup.mjs";
import { temporaryFolder } from "./tidemark.mjs";

/**
 * Serves packages: by name an object with their files, of which `package.json` says name and version. `requests` are the
 * paths that were asked for; `close` ends it.
 */
export async function startRegistry(context, packages) {
  const registry = await serve(context);
  for (const [name, files] of Object.entries(packages)) {
    registry.add(name, JSON.parse(files["package.json"]), await pack(context, files));
  }
  return registry;
}

/**
 * Serves a package and all that it needs as they are installed in an app's folder. What its lock names for other machines is
 * known here, so that npm finds out the same, but can't be fetched.
 */
export async function startMirror(context, app, wanted) {
  const registry = await serve(context);
  const { packages } = JSON.parse(await readFile(join(app, "package-lock.json"), "utf8"));
  const names = new Set([wanted]);
  // A set goes on to those that are added on the way.
  for (const name of names) {
    const manifest = packages[`node_modules/${name}`];
    const folder = join(app, "node_modules", name);
    const isInstalled = await access(folder).then(() => true, () => false);
    registry.add(name, { name, ...manifest }, isInstalled ? await packFolder(folder) : null);
    for (const needed of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
      names.add(needed);
    }
  }
  return registry;
}

async function serve(context) {
  const answers = new Map();
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request.url);
    const answer = answers.get(decodeURIComponent(request.url));
    response.writeHead(answer === undefined ? 404 : 200).end(answer ?? "{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  whenOver(context, close);
  const url = `http://127.0.0.1:${server.address().port}`;

  /** Makes a package known: its manifest, and its files as `pack` has them, null if it can't be fetched. */
  const add = (name, manifest, packed) => {
    const path = `/${name}/-/${name.replace(/^.*\//, "")}-${manifest.version}.tgz`;
    const dist = { tarball: url + path };
    if (packed !== null) {
      dist.integrity = `sha512-${createHash("sha512").update(packed).digest("base64")}`;
      answers.set(path, packed);
    }
    const versions = { [manifest.version]: { ...manifest, dist } };
    answers.set(`/${name}`, JSON.stringify({ name, "dist-tags": { latest: manifest.version }, versions }));
  };
  return { url, requests, close, add };
}

/** A package's files as a tar file, below `package/`, as registries have them. */
async function pack(context, files) {
  const folder = await temporaryFolder(context);
  await writePackage(folder, files);
  return packFolder(folder);
}

async function packFolder(folder) {
  const words = ["czf", "-", "-C", folder, "--transform", "s,^\\.,package,", "."];
  const tar = spawn("tar", words, { stdio: ["ignore", "pipe", "inherit"] });
  return Buffer.concat(await tar.stdout.toArray());
}

export async function writePackage(folder, files) {
  await mkdir(folder, { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    await writeFile(join(folder, path), text);
  }
}
