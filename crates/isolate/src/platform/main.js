// What the guest (guest.c) calls.
import { installGlobals } from "tidemark:globals";

export { analyze, declaration } from "tidemark:analysis";
export { configure } from "tidemark:environment";
export { describe, rejectionOf, syscallError } from "tidemark:errors";
export { scryptAtOnce, scryptInSteps, scryptStep } from "tidemark:hashing";
export { collect } from "tidemark:query";
export { addModule, invoke, rejection, unhandled } from "tidemark:invoke";

installGlobals();
