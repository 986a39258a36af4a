import { cronJobs } from "convex/server";
import { internal } from "./_generated/api.js";

const crons = cronJobs();
crons.interval("tick", { seconds: 2 }, internal.lib.tick, {});
export default crons;
