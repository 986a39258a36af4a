import Keycloak from "@auth/core/providers/keycloak";
import { Password } from "@convex-dev/auth/providers/Password";
import { convexAuth } from "@convex-dev/auth/server";

const { TOKEN_MS } = process.env;

// Keycloak's is the provider for any server of OpenID Connect: it brings nothing but its name.
export const { auth, signIn, signOut, store, isAuthenticated } = convexAuth({
  providers: [Password, Keycloak],
  jwt: { durationMs: TOKEN_MS ? Number(TOKEN_MS) : undefined },
});
