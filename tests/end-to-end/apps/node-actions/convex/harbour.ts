"use node";

import tides from "tide-table";
import { action } from "./_generated/server";
import { lines } from "./shared";

/** What two packages say, one of which only the other one knows. */
export const tidesOfToday = action({ args: {}, handler: async () => lines(tides.today()) });
