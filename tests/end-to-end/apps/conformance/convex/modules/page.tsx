import { query } from "../_generated/server";

export const tsx = query({ args: {}, handler: () => "tsx" });
