// What the guest is doing: "import", "query", "mutation" or "action".

let current = "import";

export const phase = () => current;

export function beginCall(kind) {
  current = kind;
}

export const isDeterministic = () => current === "query" || current === "mutation";
