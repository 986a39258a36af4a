// better-auth: its tables are the component's, its handler is the app's.
import { createClient, type GenericCtx } from "@convex-dev/better-auth";
import { convex } from "@convex-dev/better-auth/plugins";
import { betterAuth } from "better-auth";
import { components } from "./_generated/api.js";
import type { DataModel } from "./_generated/dataModel.js";
import { httpAction, query } from "./_generated/server.js";
import authConfig from "./auth.config.js";

export const authComponent = createClient<DataModel>(components.betterAuth);

export const createAuth = (ctx: GenericCtx<DataModel>) =>
  betterAuth({
    baseURL: process.env.CONVEX_SITE_URL,
    secret: process.env.BETTER_AUTH_SECRET,
    trustedOrigins: ["http://page.example"],
    database: authComponent.adapter(ctx),
    emailAndPassword: { enabled: true, requireEmailVerification: false },
    plugins: [convex({ authConfig })],
  });

/** What verifies the tokens of both: they have the same issuer. Those of Convex Auth name no key, and its key has no name. */
export const keys = httpAction(async (ctx) => {
  const answer = await createAuth(ctx).handler(new Request(`${process.env.CONVEX_SITE_URL}/api/auth/convex/jwks`));
  const { keys } = await answer.json();
  return Response.json({ keys: [...keys, ...JSON.parse(process.env.JWKS!).keys] });
});

export const handle = httpAction(async (ctx, request) => createAuth(ctx).handler(request));

export const me = query({
  args: {},
  handler: async (ctx) => {
    const user = await authComponent.safeGetAuthUser(ctx);
    return user ? { name: user.name, email: user.email } : null;
  },
});
