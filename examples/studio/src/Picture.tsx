import { useMutation, useQuery } from "convex/react";
import type { FunctionReturnType } from "convex/server";
import { type CSSProperties, useState } from "react";
import { api } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { messageOf } from "./errors";
import { useAgo } from "./time";

type Shown = FunctionReturnType<typeof api.pictures.list>[number];

const STEPS = ["ordered", "started", "ready"];

export function Picture({ picture, locale }: { picture: Shown; locale: string }) {
  const remove = useMutation(api.pictures.remove);
  const ask = useMutation(api.captions.ask);
  const order = useMutation(api.prints.order);
  const [problem, setProblem] = useState<string | null>(null);
  const ago = useAgo(picture.added, locale);
  const { id, title, state, size, thumbnail } = picture;

  async function attempt(work: Promise<unknown>) {
    try {
      await work;
      setProblem(null);
    } catch (error) {
      setProblem(messageOf(error));
    }
  }

  return (
    <li>
      <article className={`picture ${state}`} aria-label={title} style={{ "--color": picture.color ?? "var(--line)" } as CSSProperties}>
        <Frame picture={picture} />
        <div className="about">
          <header>
            <h2>{title}</h2>
            <button type="button" className="quiet" aria-label="Take down" title="Take down" onClick={() => void attempt(remove({ picture: id }))}>
              <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
                <path d="m3 3 10 10m0-10L3 13" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />
              </svg>
            </button>
          </header>
          <p className="soft">
            <time dateTime={new Date(picture.added).toISOString()} lang={locale} dir="auto">
              {picture.addedWritten}
            </time>
            {" · "}
            <span lang={locale} dir="auto">
              {ago}
            </span>
          </p>
          {thumbnail && size && (
            <p className="soft sizes">
              {size.width} × {size.height} → {thumbnail.width} × {thumbnail.height}
            </p>
          )}
          {state === "failed" && <p className="problem">{picture.problem}</p>}
          {state === "ready" && <Caption picture={id} />}
          {state === "ready" && <Prints picture={id} locale={locale} />}
          {problem && (
            <p className="problem" role="alert">
              {problem}
            </p>
          )}
          {state === "ready" && (
            <div className="actions">
              <button type="button" onClick={() => void attempt(order({ picture: id }))}>
                Order a print
              </button>
              <button type="button" className="quiet" onClick={() => void attempt(ask({ picture: id }))}>
                New caption
              </button>
            </div>
          )}
        </div>
      </article>
    </li>
  );
}

function Frame({ picture: { title, state, thumbnail, original } }: { picture: Shown }) {
  if (thumbnail === null) {
    return <div className="frame">{state === "waiting" && <span role="status">in the darkroom…</span>}</div>;
  }
  const image = <img src={thumbnail.url} width={thumbnail.width} height={thumbnail.height} alt={title} />;
  return (
    <div className="frame">
      {original ? (
        <a href={original} target="_blank" rel="noreferrer">
          {image}
        </a>
      ) : (
        image
      )}
    </div>
  );
}

/** Grows while it is written. It is read out once it stands still. */
function Caption({ picture }: { picture: Id<"pictures"> }) {
  const caption = useQuery(api.captions.of, { picture });
  return (
    <p className={`caption ${caption?.state ?? "writing"}`} aria-live="polite" aria-busy={caption?.state === "writing"}>
      {caption?.text}
      {caption?.state === "failed" && <span className="problem"> The writer has stopped.</span>}
    </p>
  );
}

function Prints({ picture, locale }: { picture: Id<"pictures">; locale: string }) {
  const prints = useQuery(api.prints.of, { picture });
  if (!prints?.length) {
    return null;
  }
  return (
    <ul className="prints" aria-label="Prints">
      {prints.map(({ id, state, changed }) => (
        <li key={id}>
          <span className={`steps ${state}`} aria-hidden="true">
            {STEPS.map((step, index) => (
              <i key={step} className={index <= STEPS.indexOf(state) ? "done" : undefined} />
            ))}
          </span>
          Print {state === "failed" ? "could not be ordered" : state}
          <time dateTime={new Date(changed).toISOString()} dir="auto">
            {new Date(changed).toLocaleTimeString(locale, { timeStyle: "short" })}
          </time>
        </li>
      ))}
    </ul>
  );
}
