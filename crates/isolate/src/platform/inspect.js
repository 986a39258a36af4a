// Formats values for the console, much as Node.js does.
import { isVariable, process } from "tidemark:environment";

const DEPTH_MAX = 4;
const ITEMS_MAX = 100;
const LINE_LENGTH_MAX = 72;

// What stands for the value of a variable, also in a copy of `process.env`.
const OF_ENVIRONMENT = "[process.env]";

// The text of a value; strings are quoted, since the value is not by itself.
export function inspect(value) {
  return format(value, { depth: 0, ancestors: [] });
}

// The messages of a console call, one per argument.
export function formatArguments(values) {
  return values.map((value) => attempt(() => inspect(value)));
}

function attempt(format) {
  try {
    return format();
  } catch (error) {
    return `[could not be shown: ${String(error)}]`;
  }
}

function format(value, context) {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "bigint":
      return `${value}n`;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "symbol":
      return value.toString();
    case "function":
      return formatFunction(value);
    case "object":
      return value === null ? "null" : formatObject(value, context);
    default:
      return String(value);
  }
}

function quote(text) {
  const quoted = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"');
  return text.includes("'") && !text.includes('"') ? `"${quoted}"` : `'${quoted.replaceAll("'", "\\'")}'`;
}

function formatFunction(value) {
  // There is no source text to tell by.
  const isClass = Object.getOwnPropertyDescriptor(value, "prototype")?.writable === false;
  return `[${isClass ? "class" : "Function"}${value.name ? `: ${value.name}` : " (anonymous)"}]`;
}

function formatObject(value, context) {
  if (context.ancestors.includes(value)) {
    return "[Circular]";
  }
  if (value instanceof Error) {
    return formatError(value, context);
  }
  if (value === process.env) {
    // Logs are read by more people than may know secrets.
    return enclose("{", Object.keys(value).slice(0, ITEMS_MAX).concat(more(Object.keys(value).length)), "}", "process.env");
  }
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  }
  if (value instanceof RegExp) {
    return String(value);
  }
  if (value instanceof Promise) {
    return "Promise {}";
  }
  const label = labelOf(value);
  if (context.depth > DEPTH_MAX) {
    return Array.isArray(value) ? "[Array]" : `[${label || "Object"}]`;
  }
  const inner = { depth: context.depth + 1, ancestors: [...context.ancestors, value] };
  if (Array.isArray(value) && value.length === 2 && isVariable(value[0], value[1])) {
    return enclose("[", [quote(value[0]), OF_ENVIRONMENT], "]", "");
  }
  if (Array.isArray(value)) {
    return enclose("[", listItems(value, value.length, inner).concat(properties(value, inner, isIndex)), "]", label);
  }
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return enclose("[", listItems(value, value.length, inner), "]", `${value.constructor.name}(${value.length})`);
  }
  if (value instanceof ArrayBuffer) {
    return `ArrayBuffer { byteLength: ${value.byteLength} }`;
  }
  if (value instanceof Map) {
    const entries = [...value]
      .slice(0, ITEMS_MAX)
      .map(([key, item]) => `${format(key, inner)} => ${isVariable(key, item) ? OF_ENVIRONMENT : format(item, inner)}`);
    return enclose("{", entries.concat(more(value.size)), "}", `Map(${value.size})`);
  }
  if (value instanceof Set) {
    const items = [...value].slice(0, ITEMS_MAX).map((item) => format(item, inner));
    return enclose("{", items.concat(more(value.size)), "}", `Set(${value.size})`);
  }
  return enclose("{", properties(value, inner), "}", label);
}

// The name of a class, or nothing for plain objects and arrays.
function labelOf(value) {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null) {
    return "[Object: null prototype]";
  }
  const name = prototype.constructor?.name;
  return name === "Object" || name === "Array" || typeof name !== "string" ? "" : name;
}

function formatError(error, context) {
  const head = attempt(() => String(error));
  const stack = typeof error.stack === "string" ? error.stack.trimEnd() : "";
  const text = stack.startsWith(head) ? stack : `${head}${stack ? `\n${stack}` : ""}`;
  const inner = { depth: context.depth + 1, ancestors: [...context.ancestors, error] };
  const details = context.depth > DEPTH_MAX ? [] : properties(error, inner);
  if (error.cause !== undefined && context.depth <= DEPTH_MAX) {
    details.push(`[cause]: ${format(error.cause, inner)}`);
  }
  return details.length ? `${text} ${enclose("{", details, "}", "")}` : text;
}

const isIndex = (key) => /^\d+$/.test(key);

function listItems(list, length, context) {
  const items = [];
  for (let index = 0; index < Math.min(length, ITEMS_MAX); index++) {
    items.push(index in list ? format(list[index], context) : "<empty>");
  }
  return items.concat(more(length));
}

const more = (count) => (count > ITEMS_MAX ? [`... ${count - ITEMS_MAX} more items`] : []);

// `key: value` of the own enumerable properties. Getters are named, not called.
function properties(value, context, isHidden = () => false) {
  const keys = Reflect.ownKeys(value).filter((key) => typeof key === "symbol" || !isHidden(key));
  const shown = [];
  for (const key of keys.slice(0, ITEMS_MAX)) {
    const property = Object.getOwnPropertyDescriptor(value, key);
    if (!property?.enumerable) {
      continue;
    }
    const name = typeof key === "symbol" ? `[${key.toString()}]` : /^[A-Za-z_$][\w$]*$/.test(key) ? key : quote(key);
    const text = isVariable(key, property.value) ? OF_ENVIRONMENT : "value" in property ? format(property.value, context) : "[Getter]";
    shown.push(`${name}: ${text}`);
  }
  return shown.concat(more(keys.length));
}

function enclose(open, items, close, label) {
  const prefix = label ? `${label} ` : "";
  if (items.length === 0) {
    return `${prefix}${open}${close}`;
  }
  const line = items.join(", ");
  if (line.length <= LINE_LENGTH_MAX && !line.includes("\n")) {
    return `${prefix}${open} ${line} ${close}`;
  }
  return `${prefix}${open}\n${items.map((item) => `  ${item.replaceAll("\n", "\n  ")}`).join(",\n")}\n${close}`;
}
