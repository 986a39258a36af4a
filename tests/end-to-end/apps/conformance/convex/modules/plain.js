import { query } from "../_generated/server";

export const js = query({ args: {}, handler: () => "plain" });
