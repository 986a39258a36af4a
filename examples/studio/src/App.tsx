import { Authenticated, AuthLoading, Unauthenticated } from "convex/react";
import { SignIn } from "./SignIn";
import { Studio } from "./Studio";

export function App() {
  return (
    <>
      <AuthLoading>
        <p className="connecting" role="status">
          Connecting…
        </p>
      </AuthLoading>
      <Unauthenticated>
        <SignIn />
      </Unauthenticated>
      <Authenticated>
        <Studio />
      </Authenticated>
    </>
  );
}
