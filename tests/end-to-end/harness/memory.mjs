// How much memory a server takes.
import { readFileSync } from "node:fs";
import { whenOver } from "./cleanup.mjs";

const EVERY_MS = 20;

/** Looks at a server's resident memory until the test ends; `growth` says by how many MiB it was larger than now, at most. */
export function watchMemory(context, tidemark) {
  const residentMebibytes = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${tidemark.processId}/status`, "utf8"))[1]) / 1024;
  const before = residentMebibytes();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, residentMebibytes())), EVERY_MS);
  whenOver(context, () => clearInterval(timer));
  return { growth: () => most - before };
}
