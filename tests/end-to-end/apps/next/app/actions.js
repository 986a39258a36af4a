"use server";

import { fetchMutation } from "convex/nextjs";
import { anyApi } from "convex/server";
import { tokenOfUser } from "./session";

export async function addNote() {
  await fetchMutation(anyApi.notes.add, { text: "by a form" }, { token: await tokenOfUser() });
}
