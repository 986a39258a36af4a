import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

export const uploadUrl = mutation({ args: {}, handler: (ctx) => ctx.storage.generateUploadUrl() });

export const url = query({ args: { file: v.id("_storage") }, handler: (ctx, { file }) => ctx.storage.getUrl(file) });

export const remove = mutation({ args: { file: v.id("_storage") }, handler: (ctx, { file }) => ctx.storage.delete(file) });
