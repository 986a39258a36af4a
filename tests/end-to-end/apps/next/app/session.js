import { cookies } from "next/headers";

/** A token of whoever the cookie says is signed in; undefined if nobody is. */
export async function tokenOfUser() {
  const user = (await cookies()).get("user")?.value;
  if (user === undefined) {
    return undefined;
  }
  const answer = await fetch(`${process.env.TOKENS_URL}?${new URLSearchParams({ user })}`, { cache: "no-store" });
  return answer.text();
}
