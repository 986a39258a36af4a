// Modules: where functions are found, and what their modules may be.
import { fails, gives } from "./rule.mjs";

const has = (rule, path, value, args = {}) => gives(rule, "query", path, args, value);
const hasNot = (rule, path) => fails(rule, "query", path, {}, /Could not find function/);

export default {
  group: "modules",
  rules: [
    has("the default export has the module's name", "modules:default", "the default"),
    has("which says enough", "modules", "the default"),
    has("a module in folders has its path", "modules/within/inside:inside", "inside"),
    has("for its default export, too", "modules/within/inside", "the default inside"),
    has("a suffix may be said", "modules/within/inside.js:inside", "inside"),
    has("a function may have two names", "modules:another", "one"),
    has("and be another module's", "modules:reexported", "inside"),
    hasNot("what is exported and no function is none", "modules:notAFunction"),
    hasNot("nor is a class", "modules:Own"),
    hasNot("nor what every object has", "modules:constructor"),
    hasNot("nor a folder", "modules/within"),
    has("a module may await", "modules:topLevel", "awaited"),
    has("import what imports it", "modules:ofCircle", "once in a circle"),
    has("import JSON", "modules:ofJson", { high: [1, 2.5, null] }),
    has("have classes", "modules:own", "a", { name: "a" }),
    has("and functions that take the context", "modules:helped", 0),
    has("it may be JavaScript", "modules/plain:js", "plain"),
    has("or have a view's suffix", "modules/page:tsx", "tsx"),
  ],
};
