// What the platform asks of the host, by the numbers that outside.rs knows.
import { request } from "tidemark:host";

export const syscall = (operation, args) => request(0, operation, args);
export const log = (level, messages) => request(1, level, JSON.stringify(messages));
export const parseUrl = (input, base) => JSON.parse(request(2, input, base));
export const setUrlPart = (href, name, value) => JSON.parse(request(3, href, JSON.stringify([name, value])));
// `bytes` is an ArrayBuffer.
export const digest = (algorithm, bytes) => Uint8Array.fromHex(request(4, algorithm, bytes));
// -1, 0 or 1; `way` is one that locale.js knows.
export const compareTexts = (way, a, b) => Number(request(6 + way, a, b));
