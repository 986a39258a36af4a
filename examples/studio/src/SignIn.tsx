import { useAuthActions } from "@convex-dev/auth/react";
import { type FormEvent, useState } from "react";
import { Brand } from "./Brand";
import { messageOf } from "./errors";

const FLOWS = {
  signIn: {
    heading: "Welcome back",
    button: "Sign in",
    other: "New here? Open a studio",
    failure: "This address and this password do not go together.",
  },
  signUp: {
    heading: "Open a studio",
    button: "Open it",
    other: "Here before? Sign in",
    failure: "That did not work. Perhaps somebody has a studio with this address already.",
  },
};

export function SignIn() {
  const { signIn } = useAuthActions();
  const [flow, setFlow] = useState<keyof typeof FLOWS>("signUp");
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const words = FLOWS[flow];

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const { locale, timeZone } = Intl.DateTimeFormat(navigator.language).resolvedOptions();
    setBusy(true);
    setProblem(null);
    try {
      await signIn("password", { flow, email: String(form.get("email")), password: String(form.get("password")), locale, timeZone });
    } catch (error) {
      setProblem(messageOf(error, words.failure));
      setBusy(false);
    }
  }

  return (
    <main className="door">
      <section className="panel">
        <Brand />
        <h1>{words.heading}</h1>
        <p className="soft">Hang up pictures, have captions written to them, order prints, and get letters about all of it.</p>
        <form onSubmit={submit}>
          <label>
            E-mail address
            <input name="email" type="email" autoComplete="email" required />
          </label>
          <label>
            Password
            <input name="password" type="password" autoComplete={flow === "signIn" ? "current-password" : "new-password"} required />
          </label>
          {problem && (
            <p className="problem" role="alert">
              {problem}
            </p>
          )}
          <button type="submit" className="primary" disabled={isBusy}>
            {isBusy ? "One moment…" : words.button}
          </button>
        </form>
        <button
          type="button"
          className="link"
          onClick={() => {
            setFlow(flow === "signIn" ? "signUp" : "signIn");
            setProblem(null);
          }}
        >
          {words.other}
        </button>
      </section>
    </main>
  );
}
