import { cronJobs } from "convex/server";

const crons = cronJobs();
// As the library exports them, past its own checks; a variable, so that they change without a push.
Object.assign(crons.crons, JSON.parse(process.env.CRONS ?? "{}"));
export default crons;
