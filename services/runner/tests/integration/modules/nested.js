import { ConvexError, ask, mutation, query, v } from "./_deps/library.js";

export const insertAndFail = mutation(async (ctx, { body }) => {
  await ctx.db.insert("messages", { body });
  throw new Error("after the insert");
});

export const refuse = mutation(async () => {
  throw new ConvexError({ reason: "no" });
});

export const catches = mutation(async (ctx) => {
  await ctx.db.insert("messages", { body: "kept" });
  let caught;
  try {
    await ctx.runMutation("nested:insertAndFail", { body: "rolled back" });
  } catch (error) {
    caught = error.message;
  }
  const seen = await ctx.runQuery("messages:list");
  await ctx.runMutation("messages:sendSecretly", { body: "by a nested mutation" });
  return { caught, seen, after: await ctx.runQuery("messages:list") };
});

export const catchesData = mutation(async (ctx) => {
  try {
    await ctx.runMutation("nested:refuse");
  } catch (error) {
    return error.data;
  }
});

export const rethrows = mutation((ctx) => ctx.runMutation("nested:refuse"));

export const together = mutation(async (ctx) => {
  const bodies = ["one", "two", "three"];
  await Promise.all(bodies.map((body) => ctx.runMutation("messages:send", { body })));
  return await ctx.runQuery("messages:list");
});

export const snapshot = mutation(async (ctx) => {
  const before = await ctx.runQuery("messages:count");
  await ctx.db.insert("messages", { body: "new" });
  return {
    before,
    inSnapshot: await ctx.runSnapshotQuery("messages:count"),
    inTransaction: await ctx.runQuery("messages:count"),
  };
});

export const deep = query(async (ctx, { levels }) =>
  levels === 0 ? 0 : 1 + (await ctx.runQuery("nested:deep", { levels: levels - 1 })),
);

export const wrongArguments = query(async (ctx) => {
  try {
    await ctx.runMutation("messages:send", { body: 7 });
  } catch (error) {
    return error.message;
  }
});

export const wrongArgumentsOfMutation = mutation(async (ctx) => {
  try {
    await ctx.runMutation("messages:send", { body: 7 });
  } catch (error) {
    return error.message;
  }
});

export const wrongKind = mutation(async (ctx) => {
  try {
    await ctx.runQuery("messages:send", { body: "x" });
  } catch (error) {
    return error.message;
  }
});

export const limited = mutation(async (ctx) => {
  try {
    await ctx.runMutation(
      "nested:insertTwo",
      {},
      { transactionLimits: { documentsWritten: 1 } },
    );
  } catch (error) {
    return error.message;
  }
});

export const insertTwo = mutation(async (ctx) => {
  await ctx.db.insert("messages", { body: "1" });
  await ctx.db.insert("messages", { body: "2" });
});

export const catchesForever = mutation(async (ctx) => {
  try {
    await ctx.runMutation("hostile:loop");
  } catch {
    return "a time limit was caught";
  }
});

export const viaHandle = mutation(async (ctx) => {
  const functionHandle = await ask("1.0/createFunctionHandle", { name: "messages:count" });
  const answer = await ask("1.0/runUdf", { udfType: "query", functionHandle, args: {} });
  return { functionHandle, answer };
});
