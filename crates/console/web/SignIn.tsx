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

async function check(key: string): Promise<SignedIn> {
  const [, name, version] = await Promise.all([
    request(key, "/api/check_admin_key"),
    request(key, "/instance_name").then((response) => response.text()),
    request(key, "/version").then((response) => response.text()),
  ]);
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
      if (error instanceof Refused && error.status < 500) {
        forgetKey();
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
