import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();

crons.daily("morning letter", { hourUTC: 6, minuteUTC: 0 }, internal.digests.morning, {});
crons.interval("news", { minutes: 1 }, internal.digests.news, {});

export default crons;
