// How what functions try may end, and by which limits.

/**
 * The limits of two servers, as their configuration has them. With the short times those cases run that end by them, so that the
 * many take little; with the long ones all others, on any machine that is busy.
 */
export const LIMITS = Object.fromEntries(
  Object.entries({
    short: { userMs: 300, actionMs: 3_000, nodeMs: 5_000 },
    long: { userMs: 10_000, actionMs: 120_000, nodeMs: 120_000 },
  }).map(([name, { userMs, actionMs, nodeMs }]) => [
    name,
    `[limits.function]
user_time_ms_max = ${userMs}
[limits.action]
user_time_ms_max = ${userMs}
time_ms_max = ${actionMs}
called_max = 100
[limits.node]
action_ms_max = ${nodeMs}
memory_bytes_max = ${256 << 20}
rest_memory_bytes_max = ${96 << 20}
children_max = 8
called_max = 3
[limits.files]
file_bytes_max = ${2 << 20}
[limits.gateway]
upload_stall_ms_max = 2000
write_stall_ms_max = 2000
`,
  ]),
);

export const TIME = /Function execution timed out/;
/** The time of an action in which it has computed little. */
export const WAIT = /Function execution timed out \(maximum duration: 3 s\)/;
export const MEMORY = /FunctionOutOfMemory/;
export const STACK = /Maximum call stack size exceeded/;
export const NEVER = /will never resolve/;
/** A result or an error: what counts is that it ends, and what is left. */
export const ENDS = /^/;
/** A loop that takes memory, which meets one limit or the other. */
export const TIME_OR_MEMORY = /Function execution timed out|FunctionOutOfMemory/;

/** An error as the library throws it, whose payload nobody has looked at. */
export const throwsData = (data) => `throw Object.assign(new Error("mine"), { ConvexErrorSymbol: Symbol.for("ConvexError"), data: ${data} });`;

/** It ends by itself and returns this. */
export const returns = (value) => ({ value });

/** A mutation, where other rows have what their table is of. */
export const mutation = (body) => ({ kind: "mutation", body });
