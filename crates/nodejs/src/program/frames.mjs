// Frames between the server and this process: two lengths of 32 bits (big-endian), JSON, bytes. See frame.rs.
import { writeSync } from "node:fs";
import { Socket } from "node:net";

// Standard input and output are the function's.
const INPUT = 3;
const OUTPUT = 4;
const PREFIX_BYTES = 8;
const NOTHING = Buffer.alloc(0);

let frameBytesMax = Infinity;

export function setFrameLimit(bytesMax) {
  frameBytesMax = bytesMax;
}

// The server would not read it. Nothing of it was sent.
export class FrameTooLarge extends Error {
  constructor(bytes) {
    super(`${bytes} bytes, more than the ${frameBytesMax} that fit between a process and the server`);
  }
}

// Returns when all is in the pipe, so that nothing is lost if the process ends, or does not come to rest, right after.
export function send(header, body = NOTHING) {
  const json = Buffer.from(JSON.stringify(header, wellFormed));
  if (json.length + body.length > frameBytesMax) {
    throw new FrameTooLarge(json.length + body.length);
  }
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(json.length, 0);
  prefix.writeUInt32BE(body.length, 4);
  let rest = Buffer.concat([prefix, json, body]);
  while (rest.length > 0) {
    rest = rest.subarray(writeSync(OUTPUT, rest));
  }
}

// Half a character, such as one at which a text was cut, has no place in JSON.
const wellFormed = (_, value) => (typeof value === "string" ? value.toWellFormed() : value);

export function listen(handle) {
  let parts = [];
  let length = 0;
  const input = new Socket({ fd: INPUT, readable: true, writable: false });
  input.on("data", (part) => {
    parts.push(part);
    length += part.length;
    let needed = PREFIX_BYTES;
    while (length >= needed) {
      const all = parts.length === 1 ? parts[0] : Buffer.concat(parts);
      parts = [all];
      const jsonEnd = PREFIX_BYTES + all.readUInt32BE(0);
      const end = jsonEnd + all.readUInt32BE(4);
      if (length < end) {
        needed = end;
        continue;
      }
      const header = JSON.parse(all.toString("utf8", PREFIX_BYTES, jsonEnd));
      const body = all.subarray(jsonEnd, end);
      parts = [all.subarray(end)];
      length -= end;
      needed = PREFIX_BYTES;
      handle(header, body);
    }
  });
  // The server has gone.
  input.on("error", () => process.exit(1));
  input.on("end", () => process.exit(1));
}
