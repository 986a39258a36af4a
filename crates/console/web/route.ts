// Which page is shown: `#/data/messages?component=…`. It stands behind the `#`, so that the server is not asked about it.
import { useMemo, useSyncExternalStore } from "react";

export interface Route {
  page: string;
  /** What follows the page's name. */
  rest: string[];
  parameters: URLSearchParams;
}

function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = path.split("/").map(decoded);
  return { page: page || "health", rest: rest.filter(Boolean), parameters: new URLSearchParams(query) };
}

/** What encodes nothing stands for itself: a link may come from anywhere. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function hrefOf(page: string, rest: string[] = [], parameters: Record<string, string | null> = {}): string {
  const present = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== null && entry[1] !== "");
  const query = new URLSearchParams(present).toString();
  return `#/${[page, ...rest].map(encodeURIComponent).join("/")}${query && `?${query}`}`;
}

export function navigate(href: string) {
  location.hash = href;
}

function subscribe(changed: () => void) {
  addEventListener("hashchange", changed);
  return () => removeEventListener("hashchange", changed);
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => location.hash);
  return useMemo(() => parse(hash), [hash]);
}
