// Better Auth's database: each of its operations is one query or one mutation of `rows.ts`.
import { type CleanedWhere, createAdapterFactory } from "better-auth/adapters";
import { internal } from "./_generated/api";
import type { ActionCtx } from "./_generated/server";

const { rows } = internal;

export const databaseOf = (ctx: ActionCtx) =>
  createAdapterFactory({
    config: {
      adapterId: "convex",
      disableIdGeneration: true,
      mapKeysTransformInput: { id: "_id" },
      mapKeysTransformOutput: { _id: "id" },
      supportsNumericIds: false,
      supportsDates: false,
    },
    adapter: () => {
      const find = async (model: string, where: CleanedWhere[] = [], options = {}): Promise<any[]> =>
        await ctx.runQuery(rows.find, { model, where, ...options });
      const change = async (model: string, where: CleanedWhere[], set: object, options = {}): Promise<any[]> =>
        await ctx.runMutation(rows.change, { model, where, set, ...options });
      const remove = async (model: string, where: CleanedWhere[], options = {}): Promise<any[]> =>
        await ctx.runMutation(rows.remove, { model, where, ...options });
      const one = { limit: 1 };
      return {
        create: async ({ model, data }) => await ctx.runMutation(rows.add, { model, row: data }),
        findOne: async ({ model, where }) => (await find(model, where, one))[0] ?? null,
        findMany: async ({ model, where, limit, sortBy, offset }) => await find(model, where, { limit, sortBy, offset }),
        count: async ({ model, where }) => (await find(model, where)).length,
        update: async ({ model, where, update }) => (await change(model, where, update as object, one))[0] ?? null,
        updateMany: async ({ model, where, update }) => (await change(model, where, update)).length,
        delete: async ({ model, where }) => void (await remove(model, where, one)),
        deleteMany: async ({ model, where }) => (await remove(model, where)).length,
        consumeOne: async ({ model, where }) => (await remove(model, where, one))[0] ?? null,
        incrementOne: async ({ model, where, increment, set = {} }) =>
          (await change(model, where, set, { ...one, increment }))[0] ?? null,
      };
    },
  });
