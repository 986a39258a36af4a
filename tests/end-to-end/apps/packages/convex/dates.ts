import * as calendar from "./calendar";
import { query } from "./_generated/server";

export const luxon = query({ args: {}, handler: () => calendar.luxonTexts() });
export const dateFns = query({ args: {}, handler: () => calendar.dateFnsTexts() });
export const dayjs = query({ args: {}, handler: () => calendar.dayjsTexts() });
export const cronParser = query({ args: {}, handler: () => calendar.cronTimes() });
export const rrule = query({ args: {}, handler: () => calendar.ruleTimes() });
