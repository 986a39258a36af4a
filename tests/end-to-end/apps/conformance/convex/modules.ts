// Functions by what their module is, and how it exports them.
import { v } from "convex/values";
import { query } from "./_generated/server";
import { named } from "./modules/circle";
import { inside } from "./modules/within/inside";
import table from "./modules/table.json";

export default query({ args: {}, handler: () => "the default" });

/** The same function by two names, and one of another module. */
export const one = query({ args: {}, handler: () => "one" });
export { one as another, inside as reexported };

export const notAFunction = { is: "no function" };
export class Own {
  constructor(readonly name: string) {}
}

/** It is there when the module is. */
const awaited = await Promise.resolve("awaited");
export const topLevel = query({ args: {}, handler: () => awaited });

export const ofCircle = query({ args: {}, handler: () => named() });

export const ofJson = query({ args: {}, handler: () => table });

export const own = query({ args: { name: v.string() }, handler: (_ctx, { name }) => new Own(name).name });

/** Called as a function of JavaScript, from another. */
export const helped = query({ args: {}, handler: async (ctx) => helper(ctx) });
const helper = async (ctx: any) => (await ctx.db.query("people").withIndex("by_name", (range: any) => range.eq("name", "nobody")).collect()).length;
