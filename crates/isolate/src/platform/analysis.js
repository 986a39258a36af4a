// Tells the host what the modules export.
import { outcome } from "tidemark:host";
import { codedError } from "tidemark:errors";
import { kindOf, modules } from "tidemark:invoke";

const kindNames = { query: "Query", mutation: "Mutation", action: "Action" };

// The outcome is JSON text of an array of `ModuleAnalysis` (analysis.rs).
export function analyze() {
  outcome(true, JSON.stringify([...modules].map(([path, namespace]) => analyzeModule(path, namespace))));
}

function analyzeModule(path, namespace) {
  const analysis = { path, functions: [], http_routes: null, crons: null };
  for (const name of Object.keys(namespace)) {
    const value = namespace[name];
    const kind = kindOf(value);
    if (kind) {
      analysis.functions.push({
        name,
        kind: kindNames[kind],
        visibility: value.isPublic === true ? "public" : "internal",
        args: value.exportArgs?.() ?? '{"type":"any"}',
        returns: value.exportReturns?.() ?? "null",
        position: positionOf(value._handler ?? value),
      });
    }
  }
  // Elsewhere such a default export is nothing special.
  const declared = namespace.default;
  if (path === "http.js" && declared?.isRouter === true) {
    analysis.http_routes = declared.getRoutes().map(([path, method]) => ({ path, method }));
  }
  if (path === "crons.js" && declared?.isCrons === true) {
    analysis.crons = declared.export();
  }
  return analysis;
}

// The engine knows where a function begins.
function positionOf(value) {
  const { lineNumber, columnNumber } = value;
  return lineNumber > 0 && columnNumber > 0 ? [lineNumber, columnNumber] : null;
}

// By the numbers that image.rs knows.
const declarations = [
  {
    name: "schema",
    isDeclared: (value) => typeof value?.export === "function" && value.tables !== undefined,
    text: (value) => value.export(),
  },
  {
    name: "app or component definition",
    isDeclared: (value) => typeof value?.export === "function" && "_isRoot" in value,
    text: (value) => JSON.stringify(value.export()),
  },
  {
    name: "auth config",
    isDeclared: (value) => Array.isArray(value?.providers),
    text: (value) => JSON.stringify(value),
  },
];

// The outcome is JSON text of what the default export of a module declares.
export function declaration(number, path) {
  const { name, isDeclared, text } = declarations[number];
  const value = modules.get(path)?.default;
  if (!isDeclared(value)) {
    throw codedError("InvalidDeclaration", `The default export of ${path} is not a valid ${name}`);
  }
  outcome(true, text(value));
}
