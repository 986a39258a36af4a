// System functions: live results, and changes.
import { useMemo } from "react";
import { useQueries } from "convex/react";
import { type FunctionReference, makeFunctionReference } from "convex/server";
import { convexToJson, type Value } from "convex/values";
import { useSession } from "./session";
import { useRoute } from "./route";

export type Arguments = Record<string, Value>;

export type Live<T> = { state: "loading" } | { state: "error"; message: string } | { state: "ready"; value: T };

/** What an error says without what is around it for developers. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return (
    text
      .replace(/^\[CONVEX [^\]]*\]\s*/, "")
      .replace(/^\[Request ID: [^\]]*\]\s*/, "")
      .replace(/^Server Error\s*/, "")
      .replace(/^Uncaught (Error: )?/, "")
      .replace(/\n\s*at [\s\S]*$/, "")
      .replace(/\s*Called by client\s*$/, "")
      .trim() || "Something went wrong."
  );
}

/** The component that the page is about: null is the app itself. */
export function useComponent(): string | null {
  return useRoute().parameters.get("component");
}

type Requests = Record<string, { query: FunctionReference<"query">; args: Arguments }>;

/** The result of a system query, as it changes. */
export function useLive<T>(name: string, args: Arguments | "skip"): Live<T> {
  const key = args === "skip" ? "skip" : JSON.stringify(convexToJson(args));
  const queries = useMemo(
    (): Requests => (args === "skip" ? {} : { it: { query: makeFunctionReference<"query">(name), args } }),
    // The arguments are compared by what is in them.
    [name, key],
  );
  const result: unknown = useQueries(queries)["it"];
  return useMemo(() => liveOf<T>(result), [result]);
}

/** Several at once, by name. */
export function useLives<T>(requests: Record<string, { name: string; args: Arguments }>): Record<string, Live<T>> {
  const key = JSON.stringify(Object.entries(requests).map(([id, { name, args }]) => [id, name, convexToJson(args)]));
  const queries = useMemo(
    () =>
      Object.fromEntries(
        Object.entries(requests).map(([id, { name, args }]) => [id, { query: makeFunctionReference<"query">(name), args }]),
      ),
    [key],
  );
  const results: Record<string, unknown> = useQueries(queries);
  return Object.fromEntries(Object.entries(results).map(([id, result]) => [id, liveOf<T>(result)]));
}

function liveOf<T>(result: unknown): Live<T> {
  if (result === undefined) {
    return { state: "loading" };
  }
  return result instanceof Error ? { state: "error", message: messageOf(result) } : { state: "ready", value: result as T };
}

/** Calls a system mutation in the page's component. */
export function useChange(): <T>(name: string, args: Arguments) => Promise<T> {
  const { client } = useSession();
  const componentId = useComponent();
  return async (name, args) => {
    try {
      return await client.mutation(makeFunctionReference<"mutation">(name), { ...args, componentId });
    } catch (error) {
      throw new Error(messageOf(error));
    }
  };
}
