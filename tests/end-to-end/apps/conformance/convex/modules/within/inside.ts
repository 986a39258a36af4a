import { query } from "../../_generated/server";

export const inside = query({ args: {}, handler: () => "inside" });
export default query({ args: {}, handler: () => "the default inside" });
