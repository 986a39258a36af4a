// The call that runs, and who belongs to it.
import { AsyncLocalStorage } from "node:async_hooks";
import { send } from "./frames.mjs";
import { importModule } from "./modules.mjs";
import { sendThrown } from "./stacks.mjs";

const storage = new AsyncLocalStorage();
let running = null;

// The call in whose name code runs. `undefined` at import, and for what a call that has ended has left behind.
export function currentCall() {
  const call = storage.getStore();
  return call !== undefined && call === running ? call : undefined;
}

// What is written while modules are evaluated for the first time belongs to the call that needs them.
export function callForLog() {
  return currentCall() ?? (running?.isImporting ? running : undefined);
}

export function endCall() {
  running = null;
}

export async function runCall({ call, module, name, requestId, resultBytesMax }, body) {
  running = { id: call, lines: 0, isImporting: true };
  const own = running;
  // From here on it may have had effects.
  send({ type: "began", call });
  try {
    const namespace = await importModule(module);
    own.isImporting = false;
    const action = namespace[name];
    if (typeof action?.invokeAction !== "function") {
      send({ type: "missing", call });
      return;
    }
    const text = await storage.run(own, () => action.invokeAction(requestId, body.toString()));
    const result = Buffer.from(text);
    if (result.length > resultBytesMax) {
      send({ type: "tooLarge", call, bytes: result.length });
    } else {
      send({ type: "returned", call }, result);
    }
  } catch (error) {
    sendThrown({ type: "threw", call }, error);
  }
}
