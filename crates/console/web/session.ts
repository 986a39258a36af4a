// Who is signed in, and where the deployment is. The key is kept for as long as the tab is open, and stands in no address.
import { createContext, useContext } from "react";
import type { ConvexReactClient } from "convex/react";

/** The deployment's address: what stands before `/console/` at the end of the page's own. Its name may begin so, too. */
export const base = location.origin + location.pathname.replace(/\/+console\/+[^/]*$/, "");

/** One tab can visit several deployments of an origin. */
const KEY = `tidemark-console-key ${base}`;

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

/** A request to the deployment in the name of the administrator, or of nobody without a key. */
export async function request(key: string | null, path: string, init: RequestInit & { json?: unknown; as?: string } = {}): Promise<Response> {
  const { json, as, ...rest } = init;
  const headers = new Headers(rest.headers);
  if (key !== null) {
    headers.set("Authorization", `Convex ${key}${as === undefined ? "" : `:${as}`}`);
  }
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
