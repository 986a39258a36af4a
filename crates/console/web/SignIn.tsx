import { useEffect, useState, type FormEvent } from "react";
import { Logo } from "./icons";
import { messageOf } from "./live";
import { base, forgetKey, Refused, request, storeKey } from "./session";
import { Button, Problem } from "./ui";

export interface SignedIn {
  key: string;
  name: string;
  version: string;
}

/** A key that signs nobody in here; the message says why. */
class WrongKey extends Error {}

async function check(key: string): Promise<SignedIn> {
  if (!/^[ -~]+$/.test(key)) {
    throw new WrongKey("This is no admin key: keys are letters, digits and signs of ASCII.");
  }
  const text = async (key: string | null, path: string) => (await request(key, path)).text();
  const [, name, here, version] = await Promise.all([
    request(key, "/api/check_admin_key"),
    text(key, "/instance_name"),
    text(null, "/instance_name"),
    text(key, "/version"),
  ]);
  // Where the address names no deployment, requests go where the key belongs, and live connections do not.
  if (name !== here) {
    throw new WrongKey(`This key opens the deployment ${name}. The one at this address is ${here}.`);
  }
  return { key, name, version };
}

export function SignIn({ remembered, onSignedIn }: { remembered: string | null; onSignedIn: (who: SignedIn) => void }) {
  const [key, setKey] = useState("");
  const [isBusy, setBusy] = useState(remembered !== null);
  const [problem, setProblem] = useState<string | null>(null);

  const signIn = async (key: string) => {
    setBusy(true);
    setProblem(null);
    try {
      const who = await check(key);
      storeKey(key);
      onSignedIn(who);
    } catch (error) {
      setBusy(false);
      const isRefused = error instanceof Refused && error.status < 500;
      if (isRefused || error instanceof WrongKey) {
        forgetKey();
      }
      if (isRefused) {
        setProblem("This key does not open the deployment.");
      } else {
        setProblem(error instanceof TypeError ? "The server can't be reached." : messageOf(error));
      }
    }
  };

  useEffect(() => {
    document.title = "Tidemark console";
    if (remembered !== null) {
      void signIn(remembered);
    }
  }, []);

  return (
    <main className="sign-in">
      <form
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          void signIn(key.trim());
        }}
      >
        <Logo size={44} />
        <h1>Tidemark console</h1>
        <p className="soft">
          Sign in to <code>{base.replace(/^https?:\/\//, "")}</code> with its admin key. It stays in this tab, and goes with it.
        </p>
        <label>
          <span className="label">Admin key</span>
          <input type="password" value={key} onChange={(event) => setKey(event.target.value)} autoFocus autoComplete="off" spellCheck={false} placeholder="name|0123…" />
        </label>
        {problem && <Problem message={problem} />}
        <Button type="submit" look="primary" isBusy={isBusy} disabled={key.trim() === ""}>
          Sign in
        </Button>
        <p className="soft small">
          <code>tidemark dev</code> prints the key when it starts. In a cluster, <code>tidemark deployment keys</code> makes keys.
        </p>
      </form>
    </main>
  );
}
