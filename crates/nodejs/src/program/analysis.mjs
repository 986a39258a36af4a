// Tells the server what modules export.
import { Session } from "node:inspector";
import { send } from "./frames.mjs";
import { importModule } from "./modules.mjs";
import { sendThrown } from "./stacks.mjs";

const kinds = [
  ["Query", "isQuery"],
  ["Mutation", "isMutation"],
  ["Action", "isAction"],
];

export async function analyze({ modules }) {
  const session = new Session();
  session.connect();
  const analyzed = [];
  for (const module of modules) {
    try {
      const namespace = await importModule(module);
      analyzed.push({ path: module, functions: functionsOf(namespace, session) });
    } catch (error) {
      sendThrown({ type: "notAnalyzed", module }, error);
      return;
    }
  }
  session.disconnect();
  send({ type: "analyzed" }, Buffer.from(JSON.stringify(analyzed)));
}

function functionsOf(namespace, session) {
  const functions = [];
  for (const name of Object.keys(namespace)) {
    const value = namespace[name];
    if (typeof value !== "function" && typeof value !== "object") {
      continue;
    }
    const kind = value?.isHttp === true ? "HttpAction" : kinds.find(([, is]) => value?.[is] === true)?.[0];
    if (kind !== undefined) {
      functions.push({
        name,
        kind,
        isPublic: value.isPublic === true,
        args: value.exportArgs?.() ?? '{"type":"any"}',
        returns: value.exportReturns?.() ?? "null",
        position: positionOf(value._handler ?? value, session),
      });
    }
  }
  return functions;
}

// Where a function begins in its module. Only the inspector tells.
function positionOf(value, session) {
  let position = null;
  globalThis.tidemarkHandler = value;
  session.post("Runtime.evaluate", { expression: "tidemarkHandler" }, (error, answer) => {
    if (error || !answer.result.objectId) {
      return;
    }
    session.post("Runtime.getProperties", { objectId: answer.result.objectId }, (error, properties) => {
      const found = properties?.internalProperties?.find(({ name }) => name === "[[FunctionLocation]]");
      if (found) {
        const { lineNumber, columnNumber } = found.value.value;
        position = [lineNumber + 1, columnNumber + 1];
      }
    });
  });
  delete globalThis.tidemarkHandler;
  return position;
}
