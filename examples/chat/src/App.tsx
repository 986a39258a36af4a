import { useConvexConnectionState, useQuery } from "convex/react";
import { useState } from "react";
import { api } from "../convex/_generated/api";
import type { Id } from "../convex/_generated/dataModel";
import { Channel } from "./Channel";
import { ChannelList } from "./ChannelList";
import { useName } from "./name";

export function App() {
  const channels = useQuery(api.channels.list);
  const [name, setName] = useName();
  const [chosen, setChosen] = useState<Id<"channels"> | null>(null);
  const current = channels?.find(({ _id }) => _id === chosen) ?? channels?.[0];

  return (
    <div className="app">
      <aside className="sidebar">
        <header className="brand">
          <Wave />
          <span>Tidemark chat</span>
          <ConnectionState />
        </header>
        <ChannelList channels={channels} current={current?._id} onChoose={setChosen} />
        <label className="you">
          <span>Your name</span>
          <input
            aria-label="Your name"
            value={name}
            maxLength={24}
            onChange={(event) => setName(event.target.value)}
          />
        </label>
      </aside>
      {current ? (
        <Channel key={current._id} channel={current} name={name} />
      ) : (
        <main className="conversation empty">
          <p>{channels ? "No channel yet. Open one on the left." : "Connecting…"}</p>
        </main>
      )}
    </div>
  );
}

function ConnectionState() {
  const { isWebSocketConnected } = useConvexConnectionState();
  return (
    <span className={isWebSocketConnected ? "state live" : "state"} role="status">
      {isWebSocketConnected ? "live" : "reconnecting"}
    </span>
  );
}

function Wave() {
  return (
    <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
      <path d="M3 13q6.5-7 13 0t13 0M3 21q6.5-7 13 0t13 0" fill="none" stroke="currentColor" strokeWidth="3" strokeLinecap="round" />
    </svg>
  );
}
