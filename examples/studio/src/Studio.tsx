import { useAuthActions } from "@convex-dev/auth/react";
import { useConvexConnectionState, useQuery } from "convex/react";
import { api } from "../convex/_generated/api";
import { Brand } from "./Brand";
import { Languages } from "./Languages";
import { Letters } from "./Letters";
import { Picture } from "./Picture";
import { Upload } from "./Upload";

export function Studio() {
  const { signOut } = useAuthActions();
  const me = useQuery(api.people.me);
  const pictures = useQuery(api.pictures.list);

  return (
    <>
      <header className="bar">
        <Brand />
        <ConnectionState />
        <span className="who">{me?.email}</span>
        <button type="button" className="quiet" onClick={() => void signOut()}>
          Sign out
        </button>
      </header>
      <div className="rooms">
        <main>
          <Upload />
          <h1 className="hidden">Pictures</h1>
          <ul className="wall" aria-label="Pictures">
            {me && pictures?.map((picture) => <Picture key={picture.id} picture={picture} locale={me.locale} />)}
          </ul>
          {pictures?.length === 0 && <p className="empty">The wall is bare. Hang the first picture.</p>}
        </main>
        <aside>
          {me && <Languages locale={me.locale} timeZone={me.timeZone} />}
          <Letters locale={me?.locale} />
        </aside>
      </div>
    </>
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
