import { defineApp } from "convex/server";
import pier from "./pier/convex.config.js";
import plain from "./plain/convex.config.js";

const app = defineApp({ httpPrefix: "/api" });
app.use(pier, { httpPrefix: "/pier" });
app.use(pier, { name: "hidden" });
app.use(plain);

export default app;
