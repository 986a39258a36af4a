"use client";

import { ConvexProviderWithAuth, ConvexReactClient, usePreloadedQuery } from "convex/react";
import { createContext, useContext, useEffect } from "react";

const client = new ConvexReactClient(process.env.NEXT_PUBLIC_CONVEX_URL);
const IsSignedIn = createContext(false);

async function fetchAccessToken() {
  const answer = await fetch("/token", { method: "POST" });
  return answer.ok ? answer.text() : null;
}

const useSession = () => ({ isLoading: false, isAuthenticated: useContext(IsSignedIn), fetchAccessToken });

export function Live({ isSignedIn, children }) {
  return (
    <IsSignedIn value={isSignedIn}>
      <ConvexProviderWithAuth client={client} useAuth={useSession}>
        {children}
      </ConvexProviderWithAuth>
    </IsSignedIn>
  );
}

/** Whose notes are how many: what the server has preloaded, and from then on what there is. */
export function Mine({ preloaded }) {
  const mine = usePreloadedQuery(preloaded);
  const text = mine === null ? "Nobody is signed in." : `${mine.user} has ${mine.notes} notes.`;
  useEffect(() => {
    (window.shown ??= []).push(text);
  }, [text]);
  return <p data-testid="mine">{text}</p>;
}
