import { betterAuth } from "better-auth";
import { jwt } from "better-auth/plugins/jwt";
import { internal } from "./_generated/api";
import type { ActionCtx } from "./_generated/server";
import { databaseOf } from "./database";

/** Better Auth for one request: its database is what the request's context reaches. */
export const authOf = (ctx: ActionCtx) =>
  betterAuth({
    baseURL: process.env.CONVEX_SITE_URL,
    secret: process.env.BETTER_AUTH_SECRET,
    trustedOrigins: [process.env.SITE_URL!],
    database: databaseOf(ctx),
    emailAndPassword: {
      enabled: true,
      revokeSessionsOnPasswordReset: true,
      sendResetPassword: async ({ user, token }) => {
        await ctx.runMutation(internal.people.sendMail, { to: user.email, token });
      },
    },
    // What it keeps in memory ends with the request.
    rateLimit: { enabled: true, storage: "database" },
    plugins: [
      jwt({
        jwks: { keyPairConfig: { alg: "ES256" } },
        jwt: {
          issuer: process.env.CONVEX_SITE_URL,
          audience: "convex",
          definePayload: ({ user, session }) => ({ name: user.name, email: user.email, session: session.id }),
        },
      }),
    ],
  });
