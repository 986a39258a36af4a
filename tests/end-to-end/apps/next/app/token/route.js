import { tokenOfUser } from "../session";

export async function POST() {
  const token = await tokenOfUser();
  return token === undefined ? new Response(null, { status: 401 }) : new Response(token);
}
