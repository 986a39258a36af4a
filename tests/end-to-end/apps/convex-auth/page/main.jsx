// The page of an app with Convex Auth: who is signed in, and the ways in and out.
import { ConvexAuthProvider, useAuthActions } from "@convex-dev/auth/react";
import { Authenticated, AuthLoading, ConvexReactClient, Unauthenticated, useMutation, useQuery } from "convex/react";
import { anyApi } from "convex/server";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const { people } = anyApi;

function Person() {
  const { signOut } = useAuthActions();
  const me = useQuery(people.me);
  const rename = useMutation(people.rename);
  return (
    <>
      <p data-testid="state">somebody</p>
      <p data-testid="me">{me && `${me.name} ${me.email}`}</p>
      <button onClick={() => rename({ name: "Ann" })}>Rename</button>
      <button onClick={() => signOut()}>Sign out</button>
    </>
  );
}

function Nobody() {
  const { signIn } = useAuthActions();
  const [flow, setFlow] = useState("signUp");
  const [refused, setRefused] = useState("");
  const submit = (event) => {
    event.preventDefault();
    setRefused("");
    signIn("password", new FormData(event.currentTarget)).catch((error) => setRefused(error.message));
  };
  return (
    <>
      <p data-testid="state">nobody</p>
      <p data-testid="refused">{refused}</p>
      <form onSubmit={submit}>
        <input name="email" aria-label="Email" />
        <input name="password" aria-label="Password" type="password" />
        <input name="flow" type="hidden" value={flow} />
        <button>{flow === "signUp" ? "Sign up" : "Sign in"}</button>
      </form>
      <button onClick={() => setFlow("signIn")}>I have an account</button>
      <button onClick={() => signIn("keycloak", { redirectTo: `${location.pathname}${location.search}` })}>With Keycloak</button>
    </>
  );
}

const client = new ConvexReactClient(new URLSearchParams(location.search).get("deployment"));
createRoot(document.getElementById("root")).render(
  <ConvexAuthProvider client={client}>
    <AuthLoading>
      <p data-testid="state">loading</p>
    </AuthLoading>
    <Unauthenticated>
      <Nobody />
    </Unauthenticated>
    <Authenticated>
      <Person />
    </Authenticated>
  </ConvexAuthProvider>,
);
