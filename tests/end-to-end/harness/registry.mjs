// A registry of npm packages on this machine.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { whenOver } from "./cleanup.mjs";
import { temporaryFolder } from "./tidemark.mjs";

/**
 * Serves packages: by name an object with their files, of which `package.json` says name and version. `requests` are the
 * paths that were asked for; `close` ends it.
 */
export async function startRegistry(context, packages) {
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
  for (const [name, files] of Object.entries(packages)) {
    const manifest = JSON.parse(files["package.json"]);
    const packed = await pack(context, files);
    const path = `/${name}/-/${name}-${manifest.version}.tgz`;
    const integrity = `sha512-${createHash("sha512").update(packed).digest("base64")}`;
    const version = { ...manifest, dist: { tarball: url + path, integrity } };
    const document = { name, "dist-tags": { latest: manifest.version }, versions: { [manifest.version]: version } };
    answers.set(`/${name}`, JSON.stringify(document));
    answers.set(path, packed);
  }
  return { url, requests, close };
}

/** A package's files as a tar file, below `package/`, as registries have them. */
async function pack(context, files) {
  const folder = await temporaryFolder(context);
  await writePackage(join(folder, "package"), files);
  const tar = spawn("tar", ["czf", "-", "-C", folder, "package"], { stdio: ["ignore", "pipe", "inherit"] });
  return Buffer.concat(await tar.stdout.toArray());
}

export async function writePackage(folder, files) {
  await mkdir(folder, { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    await writeFile(join(folder, path), text);
  }
}
