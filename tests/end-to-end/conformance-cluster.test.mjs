// The same rules as in conformance.test.mjs, held against a cluster of three, at a node that does not lead.
import { after } from "node:test";
import { startServerOfThree } from "./conformance/cluster.mjs";
import { holdToRules } from "./conformance/suite.mjs";

const file = { after };
const { server } = await startServerOfThree(file);
await holdToRules(file, server);
