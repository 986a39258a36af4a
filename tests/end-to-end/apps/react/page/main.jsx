// A page for each hook and provider of `convex/react`: which one, its address says behind `#`.
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Authenticated, AuthLoading, ConvexProvider, ConvexProviderWithAuth, ConvexReactClient, Unauthenticated } from "convex/react";
import { useConvexAuth, useMutation, usePaginatedQuery, useQuery } from "convex/react";
import { ConvexProviderWithClerk } from "convex/react-clerk";
import { anyApi } from "convex/server";

const { notes } = anyApi;

function Pages() {
  const { results, status, loadMore } = usePaginatedQuery(notes.pages, {}, { initialNumItems: 3 });
  return (
    <>
      <p data-testid="status">{status}</p>
      <p data-testid="texts">{results.map(({ text }) => text).join(" ")}</p>
      <button onClick={() => loadMore(3)}>More</button>
    </>
  );
}

function Optimistic() {
  const count = useQuery(notes.count);
  const [refused, setRefused] = useState("");
  const add = useMutation(notes.addShort).withOptimisticUpdate((store) => {
    const before = store.getQuery(notes.count, {});
    if (before !== undefined) store.setQuery(notes.count, {}, before + 1);
  });
  const addText = (text) => add({ text }).catch(() => setRefused(text));
  return (
    <>
      <p data-testid="count">{count}</p>
      <p data-testid="refused">{refused}</p>
      <button onClick={() => addText("short")}>Short</button>
      <button onClick={() => addText("much too long")}>Long</button>
    </>
  );
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
      <p data-testid="mine">{JSON.stringify(mine)}</p>
      <button onClick={() => add({ text: "mine" })}>Add</button>
    </>
  );
}

/** Who is signed in at the page's own server, which gives tokens. */
function useSignIn() {
  const [user, setUser] = useState(null);
  const tokenFor = (purpose) => fetch(`/token?${new URLSearchParams({ user, ...purpose })}`, { method: "POST" }).then((answer) => answer.text());
  return { user, tokenFor, signIn: () => setUser("ann"), signOut: () => setUser(null) };
}

function WithAuth({ client, Provider, useAuthOf }) {
  const session = useSignIn();
  const [useAuth] = useState(() => () => useAuthOf(current.session));
  current.session = session;
  return (
    <>
      <button onClick={session.signIn}>Sign in</button>
      <button onClick={session.signOut}>Sign out</button>
      <Provider client={client} useAuth={useAuth}>
        <Me />
      </Provider>
    </>
  );
}

const current = {};
const plain = ({ user, tokenFor }) => {
  const [fetchers] = useState(() => new Map());
  if (!fetchers.has(user)) fetchers.set(user, ({ forceRefreshToken }) => tokenFor({ refresh: forceRefreshToken }));
  return { isLoading: false, isAuthenticated: user !== null, fetchAccessToken: fetchers.get(user) };
};
/** As Clerk's `useAuth` answers. */
const clerk = ({ user, tokenFor }) => ({
  isLoaded: true,
  isSignedIn: user !== null,
  sessionId: user && `sess_${user}`,
  orgId: null,
  orgRole: null,
  getToken: ({ template, skipCache }) => tokenFor({ template, refresh: skipCache }),
});

const client = new ConvexReactClient(new URLSearchParams(location.search).get("deployment"));
const pages = {
  pages: () => <ConvexProvider client={client} children={<Pages />} />,
  optimistic: () => <ConvexProvider client={client} children={<Optimistic />} />,
  auth: () => <WithAuth client={client} Provider={ConvexProviderWithAuth} useAuthOf={plain} />,
  clerk: () => <WithAuth client={client} Provider={ConvexProviderWithClerk} useAuthOf={clerk} />,
};
const Page = pages[location.hash.slice(1)];
createRoot(document.getElementById("root")).render(<Page />);
