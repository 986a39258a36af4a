import { useMutation, useQuery } from "convex/react";
import { useState } from "react";
import { api } from "../convex/_generated/api";
import { messageOf } from "./errors";

const OCCASIONS = { morning: "each morning", news: "news of the minute", asked: "as you asked" };
const STATES = { waiting: "on its way", sent: "delivered", failed: "not delivered" };

/** What the studio has written to this person, on its own and when asked. */
export function Letters({ locale }: { locale: string | undefined }) {
  const letters = useQuery(api.digests.list);
  const ask = useMutation(api.digests.ask);
  const [notice, setNotice] = useState("");

  async function submit() {
    try {
      await ask();
      setNotice("It will be written in a moment.");
    } catch (error) {
      setNotice(messageOf(error));
    }
  }

  return (
    <section className="panel" aria-labelledby="letters">
      <h2 id="letters">Letters</h2>
      <p className="soft">Each morning, when there is news, or now:</p>
      <button type="button" onClick={() => void submit()}>
        Write me a letter
      </button>
      <p className="soft notice" role="status">
        {notice}
      </p>
      <ol className="letters" aria-label="Letters">
        {letters?.map(({ id, occasion, state, subject, body, writtenAt }) => (
          <li key={id} className={state}>
            <h3>{subject}</h3>
            <p className="soft" lang={locale}>
              <time dir="auto">{writtenAt}</time>
            </p>
            <p className="body">{body}</p>
            <p className="soft">
              {OCCASIONS[occasion]} · <span className={`post ${state}`}>{STATES[state]}</span>
            </p>
          </li>
        ))}
      </ol>
    </section>
  );
}
