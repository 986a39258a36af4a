import { useMutation } from "convex/react";
import { type FormEvent, useState } from "react";
import { api } from "../convex/_generated/api";
import type { Doc, Id } from "../convex/_generated/dataModel";
import { messageOf } from "./errors";

export function ChannelList({
  channels,
  current,
  onChoose,
}: {
  channels: Doc<"channels">[] | undefined;
  current: Id<"channels"> | undefined;
  onChoose: (channel: Id<"channels">) => void;
}) {
  const open = useMutation(api.channels.open);
  const [draft, setDraft] = useState("");
  const [problem, setProblem] = useState<string | null>(null);

  async function submit(event: FormEvent) {
    event.preventDefault();
    try {
      onChoose(await open({ name: draft.trim().toLowerCase().replace(/\s+/g, "-") }));
      setDraft("");
      setProblem(null);
    } catch (error) {
      setProblem(messageOf(error));
    }
  }

  return (
    <nav className="channels" aria-label="Channels">
      <ul>
        {channels?.map(({ _id, name }) => (
          <li key={_id}>
            <button
              type="button"
              aria-current={_id === current ? "page" : undefined}
              onClick={() => onChoose(_id)}
            >
              <span className="hash">#</span> {name}
            </button>
          </li>
        ))}
      </ul>
      <form onSubmit={submit}>
        <input
          aria-label="New channel"
          placeholder="New channel…"
          value={draft}
          maxLength={24}
          onChange={(event) => setDraft(event.target.value)}
        />
      </form>
      {problem && <p className="problem">{problem}</p>}
    </nav>
  );
}
