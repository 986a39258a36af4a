// Data of every type, to be taken out and brought back.
import { v } from "convex/values";
import { mutation, query } from "./_generated/server";

const VALUES = [
  null, true, false, 0, -0, 1, -1.5, 1e300, 5e-324, NaN, Infinity, -Infinity, 9007199254740993,
  0n, 1n, -1n, 9223372036854775807n, -9223372036854775808n,
  "", "line\nbreak \u2028 \0 \"quoted\" é 😀", "$integer",
  new ArrayBuffer(0), new Uint8Array([0, 255, 7]).buffer,
  [], [1n, 1, [null]], {}, { "": 1, "a b": 7n, nested: { deep: [{}] } },
];

export const fill = mutation({
  args: { files: v.array(v.id("_storage")) },
  handler: async (ctx, { files }) => {
    for (const value of VALUES) {
      await ctx.db.insert("anything", { value });
    }
    for (const name of ["Zoe", "Zack"]) {
      const to = await ctx.db.insert("zebras", { name });
      await ctx.db.insert("links", { to });
      for (const file of files) {
        await ctx.db.insert("links", { to, file });
      }
    }
  },
});

/** Changes and adds, so that nothing is as it was. */
export const disturb = mutation({
  args: {},
  handler: async (ctx) => {
    for (const link of await ctx.db.query("links").collect()) {
      if (link.file) {
        await ctx.storage.delete(link.file).catch(() => null);
      }
      await ctx.db.delete(link._id);
    }
    for (const zebra of await ctx.db.query("zebras").collect()) {
      await ctx.db.patch(zebra._id, { name: "changed" });
    }
    await ctx.db.insert("zebras", { name: "new" });
  },
});

/** Found by an index: each name with how many links lead there, and the addresses of their files. */
export const zebras = query({
  args: {},
  handler: async (ctx) => {
    const zebras = await ctx.db.query("zebras").withIndex("by_name").collect();
    return Promise.all(
      zebras.map(async ({ _id, name }) => {
        const links = await ctx.db.query("links").withIndex("by_to", (q) => q.eq("to", _id)).collect();
        const urls = await Promise.all(links.map(({ file }) => (file ? ctx.storage.getUrl(file) : null)));
        return { name, links: links.length, urls: urls.filter((url) => url !== null) };
      }),
    );
  },
});

export const count = query({
  args: {},
  handler: async (ctx) => {
    const zebras = await ctx.db.query("zebras").collect();
    return { total: zebras.length, old: zebras.filter(({ name }) => name.startsWith("old")).length };
  },
});

/** How many zebras there are of each herd, which is the first word of their names. */
export const herds = query({
  args: {},
  handler: async (ctx) => {
    const herds: Record<string, number> = {};
    for (const { name } of await ctx.db.query("zebras").collect()) {
      const [herd] = name.split(" ");
      herds[herd] = (herds[herd] ?? 0) + 1;
    }
    return herds;
  },
});

export const uploadUrl = mutation({ args: {}, handler: (ctx) => ctx.storage.generateUploadUrl() });

export const values = query({
  args: {},
  handler: async (ctx) => (await ctx.db.query("anything").collect()).map(({ value }) => value),
});
