/** Imported by both modules for Node.js, so that it becomes a chunk of theirs. */
export function lines(texts: string[]) {
  return texts.map((text, at) => `${at + 1}. ${text}`).join("\n");
}

export function refuse(what: string): never {
  throw new RangeError(`no ${what} today`);
}
