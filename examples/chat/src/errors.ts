import { ConvexError } from "convex/values";

/** What to tell a person: the app's own sentence if the function threw one. */
export function messageOf(error: unknown) {
  return error instanceof ConvexError ? String(error.data) : "That did not work. Please try again.";
}
