// Validators: a function for each, which returns what it is given.
import { v } from "convex/values";
import { query } from "./_generated/server";

const echo = (value: any) => query({ args: { value }, returns: v.object({ value }), handler: (_ctx, args) => args as any });

const person = v.object({ name: v.string(), age: v.optional(v.number()), city: v.string() });

export const ofNull = echo(v.null());
export const ofBoolean = echo(v.boolean());
export const ofNumber = echo(v.number());
export const ofFloat64 = echo(v.float64());
export const ofInt64 = echo(v.int64());
export const ofString = echo(v.string());
export const ofBytes = echo(v.bytes());
export const ofAny = echo(v.any());
export const ofId = echo(v.id("people"));
export const ofFileId = echo(v.id("_storage"));
export const ofText = echo(v.literal("a"));
export const ofOne = echo(v.literal(1));
export const ofBigOne = echo(v.literal(1n));
export const ofTrue = echo(v.literal(true));
export const ofArray = echo(v.array(v.number()));
export const ofObject = echo(person);
export const ofNoFields = echo(v.object({}));
export const ofRecord = echo(v.record(v.string(), v.number()));
export const ofRecordOfIds = echo(v.record(v.id("people"), v.boolean()));
export const ofUnion = echo(v.union(v.string(), v.object({ kind: v.literal("a"), a: v.number() }), v.object({ kind: v.literal("b"), b: v.string() })));
export const ofNoUnion = echo(v.union());
export const ofOptional = echo(v.optional(v.string()));
export const ofNullable = echo(v.nullable(v.string()));
export const ofNested = echo(v.array(v.object({ list: v.array(v.union(v.null(), v.record(v.string(), v.array(v.int64())))) })));
export const ofPicked = echo(person.pick("name"));
export const ofOmitted = echo(person.omit("name"));
export const ofExtended = echo(person.extend({ tall: v.boolean() }));
export const ofPartial = echo(person.partial());

/** Arguments that are not an object of fields. */
export const oneOfTwo = query({
  args: v.union(v.object({ name: v.string() }), v.object({ number: v.number() })),
  handler: (_ctx, args) => Object.keys(args),
});

export const anything = query({ args: v.any(), handler: (_ctx, args) => Object.keys(args).sort() });

export const noArguments = query({ args: {}, handler: () => "none" });

export const undeclared = query((_ctx, args: Record<string, unknown>) => Object.keys(args).sort());
