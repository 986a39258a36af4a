import { defineComponent } from "convex/server";

/** Without tables and code. */
export default defineComponent("plain");
