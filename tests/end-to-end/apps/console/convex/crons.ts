import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();

crons.interval("count the boats", { minutes: 1 }, internal.boats.count);
crons.daily("count them in the morning", { hourUTC: 6, minuteUTC: 30 }, internal.boats.count);

export default crons;
