import { getAuthConfigProvider } from "@convex-dev/better-auth/auth-config";
import type { AuthConfig } from "convex/server";

const jwks = `${process.env.CONVEX_SITE_URL}/api/keys`;

export default { providers: [{ ...getAuthConfigProvider(), jwks }] } satisfies AuthConfig;
