// Processes that run Node.js actions, and what these have started.
import { readFileSync, readdirSync } from "node:fs";

/** Those whose environment names a folder below `folder`: the id and the command of each. */
export function processesOf(folder) {
  const ids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return ids.flatMap((id) => {
    try {
      const isOne = readFileSync(`/proc/${id}/environ`, "utf8").includes(`TIDEMARK_NODE_PROCESS=${folder}/`);
      return isOne ? [{ id, command: readFileSync(`/proc/${id}/cmdline`, "utf8").split("\0").join(" ") }] : [];
    } catch {
      return [];
    }
  });
}
