import { action, query } from "./_generated/server";

export const report = action({
  args: {},
  handler: async () => {
    console.debug("asking the mast");
    console.warn("the wind comes from the west");
    return { knots: 17, gusts: [22, 25, 21] };
  },
});

export const station = query({
  args: {},
  handler: async (ctx) => {
    const user = await ctx.auth.getUserIdentity();
    return { station: process.env.STATION ?? "none", askedBy: user?.name ?? "nobody" };
  },
});

export const broken = query({
  args: {},
  handler: async () => {
    throw new Error("the mast does not answer");
  },
});
