// A page for each hook and provider of `convex/react`: which one, its address says behind `#`.
import { createContext, useCallback, useContext, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Authenticated, AuthLoading, ConvexProvider, ConvexProviderWithAuth, ConvexReactClient, Unauthenticated } from "convex/react";
import { useAction, useConvexAuth, useMutation, usePaginatedQuery, usePreloadedQuery, useQuery } from "convex/react";
import { ConvexProviderWithClerk } from "convex/react-clerk";
import { anyApi } from "convex/server";
import { ConvexError } from "convex/values";

const { notes } = anyApi;

/** What stood on the page, one after the other. */
window.shown = [];

/** Text that is also kept in `shown`. */
function Shown({ name, children }) {
  useEffect(() => void window.shown.push(children), [children]);
  return <p data-testid={name}>{children}</p>;
}

function Pages() {
  const { results, status, loadMore } = usePaginatedQuery(notes.pages, {}, { initialNumItems: 3 });
  return (
    <>
      <p data-testid="status">{status}</p>
      <Shown name="texts">{results.map(({ text }) => text).join(" ")}</Shown>
      <button onClick={() => loadMore(3)} disabled={status !== "CanLoadMore"}>
        More
      </button>
    </>
  );
}

function Optimistic() {
  const texts = useQuery(notes.texts);
  const [refused, setRefused] = useState("");
  const add = useMutation(notes.addShort).withOptimisticUpdate((store, { text }) => {
    const before = store.getQuery(notes.texts, {});
    if (before !== undefined) store.setQuery(notes.texts, {}, [...before, `${text}…`]);
  });
  const addText = (text) => add({ text }).catch(() => setRefused(text));
  return (
    <>
      <Shown name="texts">{texts === undefined ? "loading" : texts.join(", ")}</Shown>
      <p data-testid="refused">{refused}</p>
      <button onClick={() => addText(" short ")}>Short</button>
      <button onClick={() => addText("much too long")}>Long</button>
    </>
  );
}

function Actions() {
  const count = useQuery(notes.count);
  const [answer, setAnswer] = useState("");
  const addAll = useAction(notes.addAll);
  const linger = useAction(notes.linger);
  const tell = (called) =>
    called.then(
      (value) => setAnswer(JSON.stringify(value)),
      (error) => setAnswer(error instanceof ConvexError ? `refused: ${JSON.stringify(error.data)}` : error.message),
    );
  return (
    <>
      <p data-testid="count">{count}</p>
      <p data-testid="answer">{answer}</p>
      <button onClick={() => tell(addAll({ texts: ["one", "two", "three"] }))}>Add</button>
      <button onClick={() => tell(addAll({ texts: [] }))}>Add nothing</button>
      <button onClick={() => tell(linger())}>Linger</button>
    </>
  );
}

function Preloaded({ preloaded }) {
  const count = usePreloadedQuery(preloaded);
  return <Shown name="count">{`${count}`}</Shown>;
}

function Me() {
  const { isRefreshing } = useConvexAuth();
  const mine = useQuery(notes.mine);
  const add = useMutation(notes.add);
  return (
    <>
      <AuthLoading>
        <p data-testid="state">loading</p>
      </AuthLoading>
      <Unauthenticated>
        <p data-testid="state">nobody</p>
      </Unauthenticated>
      <Authenticated>
        <p data-testid="state">somebody</p>
      </Authenticated>
      <p data-testid="refreshing">{`${isRefreshing}`}</p>
      <Shown name="mine">{mine === undefined ? "loading" : JSON.stringify(mine)}</Shown>
      <button onClick={() => add({ text: "mine" })}>Add</button>
    </>
  );
}

/** Who is signed in, and for which organization. */
const Session = createContext(null);
let signedIn = null;

/** A token of the user, or null if they have signed out or the page's server gives none any more. */
async function fetchToken(of) {
  const answer = await fetch(`/token?${new URLSearchParams(of)}`, { method: "POST" });
  const token = await answer.text();
  return of.user === signedIn && token !== "" ? token : null;
}

function WithAuth({ client, Provider, useAuth }) {
  const [user, setUser] = useState(null);
  const [organization, setOrganization] = useState(null);
  const sign = (user) => {
    signedIn = user;
    setUser(user);
  };
  return (
    <>
      <button onClick={() => sign("ann")}>Sign in as Ann</button>
      <button onClick={() => sign("bob")}>Sign in as Bob</button>
      <button onClick={() => setOrganization("harbour")}>Act for the harbour</button>
      <button onClick={() => sign(null)}>Sign out</button>
      <Session value={{ user, organization }}>
        <Provider client={client} useAuth={useAuth}>
          <Me />
        </Provider>
      </Session>
    </>
  );
}

function useSession() {
  const { user } = useContext(Session);
  const fetchAccessToken = useCallback(({ forceRefreshToken }) => fetchToken({ user, of: "session", fresh: forceRefreshToken }), [user]);
  return { isLoading: false, isAuthenticated: user !== null, fetchAccessToken };
}

/** Stands in for the hook of Clerk's library: the same fields, and tokens that are kept until a fresh one is asked for. */
const kept = new Map();
function useClerk() {
  const { user, organization } = useContext(Session);
  const getToken = async ({ template, skipCache }) => {
    const of = { user, of: template ?? "clerk", ...(organization && { organization }) };
    const key = JSON.stringify(of);
    if (skipCache || !kept.has(key)) kept.set(key, await fetchToken({ ...of, fresh: skipCache }));
    return kept.get(key);
  };
  return { isLoaded: true, isSignedIn: user !== null, sessionId: user && `sess_${user}`, orgId: organization, orgRole: null, sessionClaims: user && { sub: user }, getToken };
}

/** The same in an app for which Clerk's integration of Convex is on: tokens of the session are for Convex as they are. */
function useClerkForConvex() {
  const clerk = useClerk();
  return { ...clerk, sessionClaims: clerk.sessionClaims && { ...clerk.sessionClaims, aud: "convex" } };
}

const client = new ConvexReactClient(new URLSearchParams(location.search).get("deployment"));
/** What the page's server has asked before. */
const fetchPreloaded = async () => (await fetch("/preloaded")).json();
const pages = {
  pages: () => <ConvexProvider client={client} children={<Pages />} />,
  optimistic: () => <ConvexProvider client={client} children={<Optimistic />} />,
  actions: () => <ConvexProvider client={client} children={<Actions />} />,
  preloaded: async () => <ConvexProvider client={client} children={<Preloaded preloaded={await fetchPreloaded()} />} />,
  auth: () => <WithAuth client={client} Provider={ConvexProviderWithAuth} useAuth={useSession} />,
  clerk: () => <WithAuth client={client} Provider={ConvexProviderWithClerk} useAuth={useClerk} />,
  "clerk-integration": () => <WithAuth client={client} Provider={ConvexProviderWithClerk} useAuth={useClerkForConvex} />,
};
const page = await pages[location.hash.slice(1)]();
createRoot(document.getElementById("root")).render(page);
