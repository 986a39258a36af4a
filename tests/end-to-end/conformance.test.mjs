// The rules that apps rely on, one line each, through every official client: npm over HTTP and WebSocket, Python, Rust.
// `cargo run -p xtask -- end-to-end conformance.test.mjs --test-name-pattern=values` runs those whose names match.
import { after } from "node:test";
import { startServer } from "./conformance/server.mjs";
import { holdToRules } from "./conformance/suite.mjs";
import { startTidemark } from "./harness/tidemark.mjs";

const file = { after };
await holdToRules(file, await startServer(file, (environment) => startTidemark(file, { environment })));
