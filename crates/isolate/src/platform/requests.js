// What the platform asks of the host, by the numbers that outside.rs knows.
import { request } from "tidemark:host";

export const syscall = (operation, args) => request(0, operation, args);
export const log = (level, messages) => request(1, level, JSON.stringify(messages));
export const parseUrl = (input, base) => JSON.parse(request(2, input, base));
export const setUrlPart = (href, name, value) => JSON.parse(request(3, href, JSON.stringify([name, value])));
// `operation` is what crate web-crypto reads; `data` an ArrayBuffer or a string.
export const cryptography = (operation, data) => request(4, JSON.stringify(operation), data);
// Tells which variable's value matters from here on; "" for all of them.
export const variableIsRead = (name) => request(15, name, "");
// -1, 0 or 1, in the order of English.
export const compareTexts = (a, b) => Number(request(6, a, b));
// What crate intl answers.
export const intl = (what, text) => request(7, what, text);
