import { insertAtTop, useMutation, usePaginatedQuery, useQuery } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { messageOf } from "./errors";
import { hueOf } from "./name";

const PAGE = 30;
const SAME_BREATH_MS = 5 * 60_000;
const PENDING = "pending-";

export function Channel({ channel, name }: { channel: Doc<"channels">; name: string }) {
  const { results, status, loadMore } = usePaginatedQuery(
    api.messages.list,
    { channel: channel._id },
    { initialNumItems: PAGE },
  );
  const authors = useQuery(api.messages.authors, { channel: channel._id });

  return (
    <main className="conversation">
      <header className="heading">
        <div>
          <h1>
            <span className="hash">#</span> {channel.name}
          </h1>
          <p>{channel.topic}</p>
        </div>
        <ul className="authors" aria-label="Authors">
          {authors?.slice(0, 6).map((author) => (
            <li key={author} title={author}>
              <Avatar name={author} />
            </li>
          ))}
          {authors && authors.length > 6 && <li className="more">+{authors.length - 6}</li>}
        </ul>
      </header>

      {/* Newest first in the list and bottom up on the screen: the newest message stays in view by itself. */}
      <ol className="messages" aria-label="Messages">
        {results.map((message, index) => (
          <Message key={message._id} message={message} previous={results[index + 1]} />
        ))}
        {status === "CanLoadMore" && (
          <li className="older">
            <button type="button" onClick={() => loadMore(PAGE)}>
              Older messages
            </button>
          </li>
        )}
        {status === "Exhausted" && results.length === 0 && (
          <li className="older">Nothing here yet. Say the first word.</li>
        )}
      </ol>

      <Composer channel={channel} name={name} />
    </main>
  );
}

function Message({
  message,
  previous,
}: {
  message: Doc<"messages">;
  previous: Doc<"messages"> | undefined;
}) {
  const pending = message._id.startsWith(PENDING);
  const continues =
    previous?.author === message.author &&
    message._creationTime - previous._creationTime < SAME_BREATH_MS;
  const time = new Date(message._creationTime);
  return (
    <li className={["message", pending && "pending", continues && "continues"].filter(Boolean).join(" ")}>
      {!continues && <Avatar name={message.author} />}
      <div>
        {!continues && (
          <p className="byline">
            <strong style={{ color: `hsl(${hueOf(message.author)} 45% 34%)` }}>{message.author}</strong>
            <time dateTime={time.toISOString()}>
              {time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}
            </time>
          </p>
        )}
        <p className="body">{message.body}</p>
      </div>
    </li>
  );
}

function Composer({ channel, name }: { channel: Doc<"channels">; name: string }) {
  const [draft, setDraft] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  // The message shows at once, paler, until the server's answer takes its place.
  const send = useMutation(api.messages.send).withOptimisticUpdate((store, { author, body }) => {
    insertAtTop({
      paginatedQuery: api.messages.list,
      argsToMatch: { channel: channel._id },
      localQueryStore: store,
      item: {
        _id: `${PENDING}${crypto.randomUUID()}` as Id<"messages">,
        _creationTime: Date.now(),
        channel: channel._id,
        author,
        body,
      },
    });
  });

  async function submit(event: FormEvent) {
    event.preventDefault();
    const body = draft.trim();
    if (body === "") {
      return;
    }
    setDraft("");
    try {
      await send({ channel: channel._id, author: name, body });
      setProblem(null);
    } catch (error) {
      setDraft((now) => now || body);
      setProblem(messageOf(error));
    }
  }

  return (
    <form className="composer" onSubmit={submit}>
      {problem && <p className="problem">{problem}</p>}
      <input
        aria-label="Message"
        placeholder={`Message #${channel.name}`}
        value={draft}
        maxLength={2000}
        autoComplete="off"
        onChange={(event) => setDraft(event.target.value)}
      />
      <button type="submit" disabled={draft.trim() === ""}>
        Send
      </button>
    </form>
  );
}

function Avatar({ name }: { name: string }) {
  return (
    <span className="avatar" aria-hidden="true" style={{ background: `hsl(${hueOf(name)} 42% 46%)` }}>
      {name.trim().slice(0, 1).toUpperCase() || "?"}
    </span>
  );
}
