// Who is signed in, and where the deployment is. The key is kept for as long as the tab is open, and stands in no address.
import { createContext, useContext } from "react";
import type { ConvexReactClient } from "convex/react";

/** The deployment's address: what stands before `/console` in the page's own. */
export const base = new URL(location.pathname.replace(/\/console\/?.*$/, ""), location.origin).href.replace(/\/$/, "");

const KEY = "tidemark-console-key";

export const storedKey = (): string | null => sessionStorage.getItem(KEY);
export const storeKey = (key: string) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

/** An answer that is none: what the server says, for people. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** A request to the deployment in the name of the administrator. */
export async function request(key: string, path: string, init: RequestInit & { json?: unknown; as?: string } = {}): Promise<Response> {
  const { json, as, ...rest } = init;
  const headers = new Headers(rest.headers);
  headers.set("Authorization", `Convex ${key}${as === undefined ? "" : `:${as}`}`);
  if (json !== undefined) {
    headers.set("Content-Type", "application/json");
  }
  const body = json === undefined ? rest.body : JSON.stringify(json);
  const response = await fetch(base + path, { ...rest, headers, body, method: rest.method ?? (json === undefined ? "GET" : "POST") });
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try {
      message = JSON.parse(text).message ?? text;
    } catch {
      // Not every answer is ours.
    }
    throw new Refused(response.status, message || `The server answered with ${response.status}.`);
  }
  return response;
}

export interface Session {
  key: string;
  /** The deployment's name. */
  name: string;
  version: string;
  client: ConvexReactClient;
  signOut: () => void;
}

export const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) {
    throw new Error("nobody is signed in");
  }
  return session;
}
