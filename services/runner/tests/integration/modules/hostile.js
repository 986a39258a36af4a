import { ask, askNow, mutation, query } from "./_deps/library.js";

export const loop = mutation(async () => {
  for (;;);
});

export const loopInQuery = query(async () => {
  for (;;);
});

export const loopAfterReads = query(async (ctx) => {
  for (;;) await ctx.db.all("messages");
});

export const allocate = query(async () => {
  const kept = [];
  for (;;) kept.push(new Array(10000).fill("x".repeat(1000)));
});

export const never = query(() => new Promise(() => {}));

export const recurse = query(async () => {
  const again = (depth) => again(depth + 1) + 1;
  return again(0);
});

export const chatty = query(async () => {
  for (let line = 0; line < 1000; line++) console.log("line", line);
});

export const large = query(async () => "x".repeat(17 * 1024 * 1024));

export const unknown = query(async () => {
  const messages = [];
  for (const op of ["1.0/nonsense", "1.0/actions/vectorSearch", "1.0/insert"]) {
    try {
      await ask(op, { table: "messages", value: {} });
    } catch (error) {
      messages.push(error.message);
    }
  }
  try {
    askNow("1.0/nonsense");
  } catch (error) {
    messages.push(error.message);
  }
  try {
    askNow("1.0/queryStream", { query: { source: { type: "Robot" } } });
  } catch (error) {
    messages.push(error.message);
  }
  return messages;
});
