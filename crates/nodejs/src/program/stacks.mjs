// Errors for the server: names, messages, and stacks in terms of the files that people wrote. Node.js follows the source maps.
import { fileURLToPath } from "node:url";
import { FrameTooLarge, send } from "./frames.mjs";
import { forPeople, withoutFolder } from "./modules.mjs";

const convexError = Symbol.for("ConvexError");
const FRAME = /^ {4}at (?:(.*) \()?((?:file:\/\/)?\/.*):(\d+):(\d+)\)?$/;
// Of the library that registers functions, and of this program.
const HIDDEN = ["node_modules/convex/", import.meta.dirname];

// Tells the server what was thrown, or that it is too large to be told.
export function sendThrown(header, thrown) {
  try {
    send({ ...header, error: describe(thrown) });
  } catch (error) {
    if (!(error instanceof FrameTooLarge)) {
      throw error;
    }
    send({ ...header, error: hidden(error.message) });
  }
}

function describe(thrown) {
  try {
    const isError = typeof thrown === "object" && thrown !== null && "message" in thrown;
    return {
      name: isError ? String(thrown.name ?? "Error") : "Error",
      message: withoutFolder(isError ? String(thrown.message) : String(thrown)),
      stack: isError ? framesOf(thrown) : "",
      data: thrown?.ConvexErrorSymbol === convexError ? String(thrown.data) : null,
    };
  } catch (error) {
    return hidden(String(error));
  }
}

const hidden = (reason) => ({ name: "Error", message: `[could not be shown: ${reason}]`, stack: "", data: null });

function framesOf(error) {
  const lines = mapText(String(error.stack ?? "")).split("\n");
  return lines.filter((line) => line.startsWith("    at ")).join("\n");
}

// A text with the frames of stacks in it as people know the files; those of Node.js and of this program are left out.
export function mapText(text) {
  if (!text.includes("    at ")) {
    return text;
  }
  const mapped = [];
  for (const line of text.split("\n")) {
    const frame = FRAME.exec(line);
    if (frame !== null) {
      const [, name, place, row, column] = frame;
      const file = place.startsWith("file:") ? fileURLToPath(place) : place;
      if (!HIDDEN.some((part) => file.includes(part))) {
        const known = `${forPeople(file)}:${row}:${column}`;
        mapped.push(name === undefined ? `    at ${known}` : `    at ${name} (${known})`);
      }
    } else if (!/^ {4}at .*\(?node:/.test(line)) {
      mapped.push(line);
    }
  }
  return mapped.join("\n");
}
