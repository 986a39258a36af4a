import { nanoid } from "nanoid";
import { v4, v5, v7 } from "uuid";
import { mutation } from "./_generated/server";

export const make = mutation({
  args: {},
  handler: () => ({
    nanoids: Array.from({ length: 100 }, () => nanoid()),
    v4: v4(),
    v5: v5("tidemark", v5.URL),
    v7: v7(),
    now: Date.now(),
  }),
});
