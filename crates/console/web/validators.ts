// Validators, as functions and schemas carry them.
import type { Value } from "convex/values";
import { print } from "./literal";

export type Validator =
  | { type: "any" | "null" | "number" | "bigint" | "commitTs" | "boolean" | "string" | "bytes" }
  | { type: "id"; tableName: string }
  | { type: "function"; fnType?: string; args?: Validator; returns?: Validator }
  | { type: "literal"; value: Value }
  | { type: "array"; value: Validator }
  | { type: "object"; value: Record<string, Field> }
  | { type: "record"; keys: Validator; values: Field }
  | { type: "union"; value: Validator[] };

export const ANY: Validator = { type: "any" };

export interface Field {
  fieldType: Validator;
  optional: boolean;
}

/** As TypeScript writes it. */
export function typeOf(validator: Validator, indent = ""): string {
  const deeper = `${indent}  `;
  switch (validator.type) {
    case "id":
      return `Id<"${validator.tableName}">`;
    case "literal":
      return print(validator.value);
    case "commitTs":
      return "bigint";
    case "bytes":
      return "ArrayBuffer";
    case "function": {
      const { fnType, args, returns } = validator;
      const signature = args || returns ? [args ?? ANY, returns ?? ANY].map((part) => typeOf(part, indent)) : [];
      return `FunctionHandle<${[fnType ? `"${fnType}"` : "FunctionType", ...signature].join(", ")}>`;
    }
    case "array": {
      const of = typeOf(validator.value, indent);
      return validator.value.type === "union" ? `(${of})[]` : `${of}[]`;
    }
    case "record":
      return `Record<${typeOf(validator.keys, indent)}, ${typeOf(validator.values.fieldType, indent)}>`;
    case "union":
      return validator.value.length === 0 ? "never" : validator.value.map((member) => typeOf(member, indent)).join(" | ");
    case "object": {
      const fields = Object.entries(validator.value);
      const lines = fields.map(([name, { fieldType, optional }]) => `${deeper}${name}${optional ? "?" : ""}: ${typeOf(fieldType, deeper)};\n`);
      return lines.length === 0 ? "{}" : `{\n${lines.join("")}${indent}}`;
    }
    default:
      return validator.type;
  }
}

/** A value to begin with: what must be there, as empty as can be. */
export function example(validator: Validator): Value {
  switch (validator.type) {
    case "number":
      return 0;
    case "bigint":
    case "commitTs":
      return 0n;
    case "boolean":
      return false;
    case "string":
    case "id":
    case "function":
      return "";
    case "bytes":
      return new ArrayBuffer(0);
    case "literal":
      return validator.value;
    case "array":
      return [];
    case "object":
      return Object.fromEntries(
        Object.entries(validator.value)
          .filter(([, { optional }]) => !optional)
          .map(([name, { fieldType }]) => [name, example(fieldType)]),
      );
    case "union":
      return validator.value[0] ? example(validator.value[0]) : null;
    case "record":
    case "any":
      return {};
    case "null":
      return null;
  }
}
