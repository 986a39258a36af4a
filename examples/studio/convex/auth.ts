import { Password } from "@convex-dev/auth/providers/Password";
import { convexAuth, getAuthUserId } from "@convex-dev/auth/server";
import { ConvexError } from "convex/values";
import type { DataModel, Id } from "./_generated/dataModel";
import type { MutationCtx, QueryCtx } from "./_generated/server";
import { checkedLocale, checkedTimeZone } from "./dates";

const PASSWORD_LENGTH_MIN = 8;
const EMAIL_PATTERN = /^[^\s@]+@[^\s@]+$/;

export const { auth, signIn, signOut, store, isAuthenticated } = convexAuth({
  providers: [
    Password<DataModel>({
      // Called for each sign-in; what it returns becomes the user's document when an account is made.
      profile({ email, locale, timeZone }) {
        const address = String(email ?? "").trim().toLowerCase();
        if (!EMAIL_PATTERN.test(address)) {
          throw new ConvexError("That is no e-mail address.");
        }
        return { email: address, locale: checkedLocale(String(locale ?? "en")), timeZone: checkedTimeZone(String(timeZone ?? "UTC")) };
      },
      validatePasswordRequirements(password) {
        if ((password ?? "").length < PASSWORD_LENGTH_MIN) {
          throw new ConvexError(`A password has at least ${PASSWORD_LENGTH_MIN} characters.`);
        }
      },
    }),
  ],
});

/** The user who asks; an error if nobody is signed in. */
export async function signedIn(ctx: QueryCtx | MutationCtx): Promise<Id<"users">> {
  const user = await getAuthUserId(ctx);
  if (user === null) {
    throw new ConvexError("Sign in first.");
  }
  return user;
}
