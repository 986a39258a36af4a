// What functions see of the deployment's environment variables.
import { v } from "convex/values";
import { action, mutation, query } from "./_generated/server";

const atImport = process.env.GREETING ?? null;

const variables = {
  args: { names: v.array(v.string()) },
  handler: async (_ctx: unknown, { names }: { names: string[] }) => names.map((name) => process.env[name] ?? null),
};
export const ofQuery = query(variables);
export const ofMutation = mutation(variables);
export const ofAction = action(variables);

export const greeting = query({ args: {}, handler: () => ({ atImport, now: process.env.GREETING ?? null }) });
