import { defineApp } from "convex/server";
import { v } from "convex/values";

/** What the deployment must be told before the app can be pushed. `keys.mjs` writes all of it. */
export default defineApp({
  env: {
    STUDIO_SERVICES_URL: v.string(),
    STUDIO_WEBHOOK_SECRET: v.string(),
    // Convex Auth reads these two by itself.
    JWT_PRIVATE_KEY: v.string(),
    JWKS: v.string(),
  },
});
