// Convex Auth, which is no component: its tables and functions are the app's.
import { Anonymous } from "@convex-dev/auth/providers/Anonymous";
import { Password } from "@convex-dev/auth/providers/Password";
import { convexAuth, getAuthUserId } from "@convex-dev/auth/server";
import { query } from "./_generated/server.js";

export const { auth, signIn, signOut, store, isAuthenticated } = convexAuth({ providers: [Password, Anonymous] });

export const whoAmI = query({
  args: {},
  handler: async (ctx) => {
    const id = await getAuthUserId(ctx);
    const user = id === null ? null : await ctx.db.get(id);
    return user && { email: user.email ?? null, isAnonymous: user.isAnonymous ?? false };
  },
});
