import { ConvexError } from "convex/values";

/** What to tell a person: the app's own sentence if a function threw one, else `otherwise`. */
export function messageOf(error: unknown, otherwise = "That did not work. Please try again.") {
  return error instanceof ConvexError ? String(error.data) : otherwise;
}
