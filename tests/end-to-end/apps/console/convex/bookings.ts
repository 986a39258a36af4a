import { ConvexError, v } from "convex/values";
import { internal } from "./_generated/api";
import { internalMutation, mutation } from "./_generated/server";

const HOUR_MS = 3_600_000;

export const book = mutation({
  args: { boat: v.id("boats"), berth: v.number(), nights: v.number() },
  handler: async (ctx, { boat, berth, nights }) => {
    const taken = await ctx.db
      .query("bookings")
      .withIndex("by_berth_and_nights", (range) => range.eq("berth", berth))
      .first();
    if (taken) {
      console.warn("berth", berth, "was asked for, and is taken");
      throw new ConvexError({ code: "BERTH_TAKEN", berth });
    }
    const booking = await ctx.db.insert("bookings", { boat, berth, nights, cents: BigInt(nights) * 3_250n, paid: false });
    await ctx.scheduler.runAfter(nights * 24 * HOUR_MS, internal.bookings.remind, { booking });
    console.log("booked berth", berth, "for", nights, "nights");
    return booking;
  },
});

export const remind = internalMutation({
  args: { booking: v.id("bookings") },
  handler: async (ctx, { booking }) => {
    await ctx.db.patch(booking, { note: "reminded" });
  },
});
