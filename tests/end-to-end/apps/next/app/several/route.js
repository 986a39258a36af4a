import { fetchAction } from "convex/nextjs";
import { anyApi } from "convex/server";
import { tokenOfUser } from "../session";

export async function POST() {
  const answer = await fetchAction(anyApi.notes.addAll, { texts: ["one", "two"] }, { token: await tokenOfUser() });
  return Response.json(answer);
}
