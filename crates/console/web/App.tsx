// Who is signed in, and what surrounds every page.
import { useEffect, useMemo, useState } from "react";
import { ConvexProvider, ConvexReactClient, useConvexConnectionState } from "convex/react";
import { useComponents } from "./catalog";
import { Icon, Logo, type IconName } from "./icons";
import { LogStream } from "./logs";
import { Palette } from "./Palette";
import { hrefOf, navigate, useRoute } from "./route";
import { base, forgetKey, SessionContext, storedKey, type Session, useSession } from "./session";
import { SignIn } from "./SignIn";
import { Dialog, Fence, IconButton, Toasts } from "./ui";
import { Data } from "./pages/Data";
import { Environment } from "./pages/Environment";
import { Files } from "./pages/Files";
import { Functions } from "./pages/Functions";
import { Health } from "./pages/Health";
import { Logs } from "./pages/Logs";
import { Schedules } from "./pages/Schedules";

export const PAGES: { id: string; name: string; icon: IconName }[] = [
  { id: "health", name: "Health", icon: "health" },
  { id: "data", name: "Data", icon: "data" },
  { id: "functions", name: "Functions", icon: "functions" },
  { id: "logs", name: "Logs", icon: "logs" },
  { id: "schedules", name: "Schedules", icon: "schedules" },
  { id: "files", name: "Files", icon: "files" },
  { id: "environment", name: "Environment", icon: "environment" },
];

export function App() {
  const [signedIn, setSignedIn] = useState<{ key: string; name: string; version: string } | null>(null);
  useTheme();
  return (
    <Toasts>
      {signedIn ? (
        <Console
          adminKey={signedIn.key}
          name={signedIn.name}
          version={signedIn.version}
          signOut={() => {
            forgetKey();
            setSignedIn(null);
          }}
        />
      ) : (
        <SignIn remembered={storedKey()} onSignedIn={setSignedIn} />
      )}
    </Toasts>
  );
}

function Console({ adminKey, name, version, signOut }: { adminKey: string; name: string; version: string; signOut: () => void }) {
  const [client, setClient] = useState<ConvexReactClient | null>(null);
  useEffect(() => {
    const client = new ConvexReactClient(base, { skipConvexDeploymentUrlCheck: true, unsavedChangesWarning: false, logger: false });
    (client as unknown as { setAdminAuth: (key: string) => void }).setAdminAuth(adminKey);
    setClient(client);
    return () => void client.close();
  }, [adminKey]);
  const logs = useMemo(() => new LogStream(adminKey), [adminKey]);
  useEffect(() => logs.start(), [logs]);
  const session = useMemo<Session | null>(
    () => client && { key: adminKey, name, version, client, signOut },
    [adminKey, name, version, client],
  );
  if (!session) {
    return null;
  }
  return (
    <SessionContext value={session}>
      <ConvexProvider client={session.client}>
        <Shell logs={logs} />
      </ConvexProvider>
    </SessionContext>
  );
}

function Shell({ logs }: { logs: LogStream }) {
  const route = useRoute();
  const component = route.parameters.get("component");
  const [isPaletteOpen, setPaletteOpen] = useState(false);
  const [isHelpOpen, setHelpOpen] = useState(false);
  useKeys(() => setPaletteOpen(true), () => setHelpOpen(true));
  return (
    <div className="shell">
      <a className="skip" href="#main" onClick={(event) => (event.preventDefault(), document.querySelector("main")?.focus())}>
        To the page
      </a>
      <Sidebar page={route.page} component={component} onHelp={() => setHelpOpen(true)} onPalette={() => setPaletteOpen(true)} />
      <main tabIndex={-1}>
        <Connection />
        <Fence name={location.hash}>
          <Content page={route.page} logs={logs} />
        </Fence>
      </main>
      {isPaletteOpen && <Palette onClose={() => setPaletteOpen(false)} />}
      {isHelpOpen && <Help onClose={() => setHelpOpen(false)} />}
    </div>
  );
}

function Content({ page, logs }: { page: string; logs: LogStream }) {
  switch (page) {
    case "data":
      return <Data />;
    case "functions":
      return <Functions />;
    case "logs":
      return <Logs logs={logs} />;
    case "schedules":
      return <Schedules />;
    case "files":
      return <Files />;
    case "environment":
      return <Environment />;
    default:
      return <Health logs={logs} />;
  }
}

function Sidebar({ page, component, onHelp, onPalette }: { page: string; component: string | null; onHelp: () => void; onPalette: () => void }) {
  const session = useSession();
  const [theme, setTheme] = useTheme();
  const components = useComponents();
  const { isWebSocketConnected } = useConvexConnectionState();
  return (
    <nav className="sidebar" aria-label="Pages">
      <div className="brand">
        <Logo />
        <div>
          <strong>Tidemark</strong>
          <span title={session.name}>{session.name}</span>
        </div>
      </div>
      <button type="button" className="palette-button" onClick={onPalette}>
        <Icon name="search" />
        Go to…
        <kbd>Ctrl K</kbd>
      </button>
      {components.length > 0 && (
        <label className="component">
          <span className="label">Component</span>
          <select value={component ?? ""} onChange={(event) => navigate(hrefOf(page, [], { component: event.target.value }))}>
            <option value="">app</option>
            {components.map(({ id, path, state }) => (
              <option key={id} value={id}>
                {path}
                {state === "unmounted" && " (unmounted)"}
              </option>
            ))}
          </select>
        </label>
      )}
      <ul>
        {PAGES.map(({ id, name, icon }) => (
          <li key={id}>
            <a href={hrefOf(id, [], { component })} aria-current={page === id ? "page" : undefined}>
              <Icon name={icon} size={18} />
              {name}
            </a>
          </li>
        ))}
      </ul>
      <footer>
        <p className="connection" data-state={isWebSocketConnected ? "live" : "lost"}>
          <span className="dot" />
          <span>{isWebSocketConnected ? "Live" : "Connecting…"}</span>
          <span className="version">{session.version}</span>
        </p>
        <div className="tools">
          <IconButton icon={theme === "dark" ? "sun" : "moon"} label={theme === "dark" ? "Light colours" : "Dark colours"} onClick={() => setTheme(theme === "dark" ? "light" : "dark")} />
          <IconButton icon="keyboard" label="Keyboard shortcuts" onClick={onHelp} />
          <IconButton icon="out" label="Sign out" onClick={session.signOut} />
        </div>
      </footer>
    </nav>
  );
}

/** Says when nothing is live any more: what is shown may be old. */
function Connection() {
  const { isWebSocketConnected, hasEverConnected } = useConvexConnectionState();
  if (isWebSocketConnected || !hasEverConnected) {
    return null;
  }
  return (
    <p className="banner" role="status">
      <span className="spinner" />
      The server can't be reached. What is shown may be old; the console goes on by itself.
    </p>
  );
}

const SHORTCUTS = [
  ["Ctrl K", "Go to a page, a table or a function"],
  ["G, then D", "Data; likewise H, F, L, S, I (files), E"],
  ["/", "Search on this page"],
  ["?", "These shortcuts"],
  ["Arrows", "Move in a table of documents"],
  ["Enter", "Edit the field, or open the document from its id"],
  ["Space", "Select the document"],
  ["Delete", "Delete what is selected"],
  ["Ctrl Enter", "Save or run"],
  ["Esc", "Close what is open"],
] as const;

function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl className="shortcuts">
        {SHORTCUTS.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

const BY_LETTER: Record<string, string> = { h: "health", d: "data", f: "functions", l: "logs", s: "schedules", i: "files", e: "environment" };

/** The keys that hold on every page. */
function useKeys(openPalette: () => void, openHelp: () => void) {
  useEffect(() => {
    let isGoing = false;
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isTyping = target.matches("input, textarea, select, [contenteditable]");
      if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        openPalette();
        return;
      }
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
        return;
      }
      const page = BY_LETTER[event.key];
      if (isGoing && page) {
        navigate(hrefOf(page, [], { component: new URLSearchParams(location.hash.split("?")[1]).get("component") }));
      } else if (event.key === "?") {
        openHelp();
      } else if (event.key === "/") {
        event.preventDefault();
        document.querySelector<HTMLInputElement>("main input[type=search]")?.focus();
      }
      isGoing = event.key === "g";
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

const THEME = "tidemark-console-theme";

/** The colours: those of the system, until somebody chooses. */
function useTheme(): ["light" | "dark", (theme: "light" | "dark") => void] {
  const [theme, setTheme] = useState<"light" | "dark">(() => {
    const stored = localStorage.getItem(THEME);
    if (stored === "light" || stored === "dark") {
      return stored;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  });
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
  }, [theme]);
  return [
    theme,
    (theme) => {
      localStorage.setItem(THEME, theme);
      setTheme(theme);
    },
  ];
}
