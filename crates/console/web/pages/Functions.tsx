// The functions of the pushed code, and a place to run them.
import { useEffect, useMemo, useRef, useState } from "react";
import { makeFunctionReference } from "convex/server";
import { convexToJson, jsonToConvex, type Value } from "convex/values";
import { useComponents, useFunctions, useHttpPrefix, useTableNames, type ServerFunction } from "../catalog";
import { Icon } from "../icons";
import { type Live, messageOf, useComponent, useLive } from "../live";
import { parse, print } from "../literal";
import { hrefOf, useRoute } from "../route";
import { request, useSession } from "../session";
import { example, typeOf } from "../validators";
import { Badge, Button, CodeField, CopyButton, Empty, Loading, Page, Problem, SearchField, clockOf, durationOf, useMatcher } from "../ui";

const LETTER = { Query: "Q", Mutation: "M", Action: "A", HttpAction: "H" } as const;
const KIND_NAME = { Query: "query", Mutation: "mutation", Action: "action", HttpAction: "HTTP action" } as const;

export function KindMark({ kind }: { kind: ServerFunction["kind"] }) {
  return (
    <span className={`kind kind-${kind}`} title={KIND_NAME[kind]}>
      {LETTER[kind]}
    </span>
  );
}

/** In the place of a function's name: a query that is written here. No function is called so. */
const QUERY = "+query";

export function Functions() {
  const functions = useFunctions();
  const component = useComponent();
  const [name = null] = useRoute().rest;
  const all = functions.state === "ready" ? functions.value : [];
  const shown = all.find((candidate) => candidate.name === name) ?? (name === null ? all[0] : undefined) ?? null;
  if (name === QUERY) {
    return (
      <div className="split">
        <FunctionList all={all} shown={null} state={functions.state} isQuery />
        <div className="split-main">
          <WrittenQuery key={component} />
        </div>
      </div>
    );
  }
  return (
    <div className="split">
      <FunctionList all={all} shown={shown} state={functions.state} />
      <div className="split-main">
        {functions.state === "error" && <Problem message={functions.message} />}
        {functions.state === "loading" && <Loading />}
        {functions.state === "ready" && all.length === 0 && (
          <Empty icon="functions" title="No code was pushed yet">
            <code>npx convex dev</code> or <code>npx convex deploy</code> brings it here.
          </Empty>
        )}
        {functions.state === "ready" && all.length > 0 && shown === null && (
          <Empty icon="functions" title={`There is no function ${name}`}>
            <a href={hrefOf("functions", [], { component })}>The functions that there are</a>
          </Empty>
        )}
        {shown && <FunctionView key={`${component} ${shown.name}`} shown={shown} />}
      </div>
    </div>
  );
}

function FunctionList({ all, shown, state, isQuery = false }: { all: ServerFunction[]; shown: ServerFunction | null; state: Live<unknown>["state"]; isQuery?: boolean }) {
  const component = useComponent();
  const [text, setText] = useState("");
  const matches = useMatcher(text);
  const modules = useMemo(() => {
    const found = all.filter(({ name, kind }) => matches(`${name} ${kind}`));
    return Object.entries(Object.groupBy(found, ({ module }) => module)).sort(([one], [other]) => (one < other ? -1 : 1));
  }, [all, matches]);
  return (
    <aside className="split-list" aria-label="Functions">
      <div className="split-head">
        <SearchField label="Find a function" value={text} onChange={setText} />
      </div>
      <ul>
        <li>
          <a href={hrefOf("functions", [QUERY], { component })} aria-current={isQuery ? "true" : undefined}>
            <span className="kind">
              <Icon name="edit" size={13} />
            </span>
            <span className="name">Write a query</span>
          </a>
        </li>
      </ul>
      {state === "loading" && <Loading rows={4} />}
      {modules.map(([module, functions = []]) => (
        <section key={module}>
          <h3>{module}</h3>
          <ul>
            {functions.map((one) => (
              <li key={one.name}>
                <a href={hrefOf("functions", [one.name], { component })} aria-current={one === shown ? "true" : undefined}>
                  <KindMark kind={one.kind} />
                  <span className="name">{one.export}</span>
                  {!one.isPublic && <span className="count">internal</span>}
                </a>
              </li>
            ))}
          </ul>
        </section>
      ))}
      {state === "ready" && modules.length === 0 && <p className="soft none">{all.length === 0 ? "No functions" : "No function is called so."}</p>}
    </aside>
  );
}

function FunctionView({ shown }: { shown: ServerFunction }) {
  return (
    <Page
      title={shown.name}
      isWide
      hint={
        <>
          <Badge tone={`kind-${shown.kind}`}>{KIND_NAME[shown.kind]}</Badge> <Badge>{shown.isPublic ? "public" : "internal"}</Badge>
        </>
      }
    >
      {shown.kind === "HttpAction" ? <HttpRoute shown={shown} /> : <Runner shown={shown} />}
    </Page>
  );
}

function HttpRoute({ shown }: { shown: ServerFunction }) {
  const site = useLive<{ value: string } | null>("_system/cli/queryEnvironmentVariables:get", { name: "CONVEX_SITE_URL" });
  const prefix = useHttpPrefix();
  const [method = ""] = shown.export.split(" ", 1);
  const path = shown.export.slice(method.length + 1);
  const isKnown = site.state === "ready" && prefix.state === "ready";
  const url = isKnown && prefix.value !== null ? `${site.value?.value ?? ""}${prefix.value.replace(/\/$/, "")}${path}` : null;
  return (
    <section className="panel">
      <h2>Where it answers</h2>
      {site.state === "error" && <Problem message={site.message} />}
      {prefix.state === "error" && <Problem message={prefix.message} />}
      {url !== null && (
        <>
          <p className="address">
            <code>
              {method} {url}
            </code>
            <CopyButton text={url} label="Copy the address" />
          </p>
          <p className="soft">It answers whoever sends a request there, by the app's own rules; so it is not run from here.</p>
        </>
      )}
      {isKnown && url === null && (
        <p className="soft">
          Nowhere: a component answers requests while it is mounted with an <code>httpPrefix</code>.
        </p>
      )}
    </section>
  );
}

interface Outcome {
  isLive: boolean;
  atMs: number;
  durationMs: number | null;
  value: Value | undefined;
  error: string | null;
  data: Value | undefined;
  lines: string[];
}

/** What a call comes to, also where the server does not take it. */
async function outcomeOf(call: () => Promise<Response>): Promise<Outcome> {
  const began = performance.now();
  const common = { isLive: false, value: undefined, data: undefined, lines: [] };
  try {
    const answer = await (await call()).json();
    const isSuccess = answer.status === "success";
    return {
      ...common,
      atMs: Date.now(),
      durationMs: performance.now() - began,
      value: isSuccess ? jsonToConvex(answer.value) : undefined,
      error: isSuccess ? null : messageOf(answer.errorMessage),
      data: answer.errorData === undefined ? undefined : jsonToConvex(answer.errorData),
      lines: answer.logLines ?? [],
    };
  } catch (error) {
    return { ...common, atMs: Date.now(), durationMs: null, error: messageOf(error) };
  }
}

const FIRST_QUERY = (table: string) => `export default query({
  handler: async (ctx) => {
    return await ctx.db.query("${table}").order("desc").take(10);
  },
});
`;

/** A query that is run and not kept: it reads what functions can read, and changes nothing. */
function WrittenQuery() {
  const { key } = useSession();
  const component = useComponent();
  const tables = useTableNames();
  const first = tables.state === "ready" ? (tables.value[0] ?? "messages") : "messages";
  const [draft, setDraft] = useState<string | null>(null);
  const [isRunning, setRunning] = useState(false);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const source = draft ?? FIRST_QUERY(first);
  const run = async () => {
    setRunning(true);
    const imports = 'import { query, internalQuery } from "convex:/_system/repl/wrappers.js";\n';
    const bundle = { path: "writtenQuery.js", source: imports + source };
    const body = { args: {}, bundle, format: "convex_encoded_json", ...(component ? { componentId: component } : {}) };
    setOutcome(await outcomeOf(() => request(key, "/api/run_test_function", { json: body })));
    setRunning(false);
  };
  return (
    <Page title="Write a query" isWide hint="It runs once, reads what functions can read, and changes nothing.">
      <div className="runner">
        <section className="panel">
          <h2>Code</h2>
          <CodeField label="Code" className="code" value={source} rows={14} onChange={setDraft} onSubmit={run} autoFocus />
          <footer>
            <span className="soft small">JavaScript; nothing but the default export is called.</span>
            <span className="grow" />
            <RunButton isBusy={isRunning} disabled={source.trim() === ""} onClick={run} />
          </footer>
        </section>
        <ResultPanel outcome={outcome} isWatching={false} />
      </div>
    </Page>
  );
}

function RunButton(properties: { isBusy: boolean; disabled: boolean; onClick: () => void }) {
  return (
    <Button icon="play" look="primary" {...properties}>
      Run <kbd>Ctrl ↵</kbd>
    </Button>
  );
}

function ResultPanel({ outcome, isWatching }: { outcome: Outcome | null; isWatching: boolean }) {
  return (
    <section className="panel outcome" aria-label="Result" aria-live="polite">
      <div className="panel-head">
        <h2>Result</h2>
        {outcome && (
          <span className="soft">
            {isWatching && <Badge tone="live">live</Badge>} {outcome.durationMs !== null && `${durationOf(outcome.durationMs)} · `}
            {clockOf(outcome.atMs)}
          </span>
        )}
      </div>
      {outcome === null ? <p className="soft">Nothing was run yet.</p> : <Result outcome={outcome} />}
    </section>
  );
}

function Runner({ shown }: { shown: ServerFunction }) {
  const { key, client } = useSession();
  const component = useComponent();
  const path = useComponentPath(component);
  const [text, setText] = useState(() => (shown.args.type === "object" ? print(example(shown.args), true) : "{}"));
  const [identity, setIdentity] = useState("");
  const [isActing, setActing] = useState(false);
  const [isRunning, setRunning] = useState(false);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [watched, setWatched] = useState<Record<string, Value> | null>(null);

  const { args, wrong } = useMemo(() => readObject(text), [text]);
  const acting = useMemo(() => (isActing && identity.trim() !== "" ? readObject(identity) : null), [isActing, identity]);

  useEffect(() => {
    if (watched === null) {
      return;
    }
    const began = performance.now();
    const options = path ? { componentPath: path } : {};
    const watch = client.watchQuery(makeFunctionReference<"query">(shown.name), watched, options as object);
    const show = () => {
      const common = { isLive: true, atMs: Date.now(), lines: [], data: undefined };
      try {
        const value = watch.localQueryResult() as Value | undefined;
        if (value !== undefined) {
          setOutcome((before) => ({ ...common, value, error: null, durationMs: before?.isLive ? null : performance.now() - began }));
        }
      } catch (error) {
        setOutcome({ ...common, value: undefined, error: messageOf(error), durationMs: null });
      }
    };
    const stop = watch.onUpdate(show);
    show();
    return stop;
  }, [watched, client, path, shown.name]);

  const run = async () => {
    if (args === null || acting?.wrong) {
      return;
    }
    setWatched(null);
    setRunning(true);
    const call = async () => {
      const as = acting?.args ? btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(acting.args)))) : undefined;
      const body = { ...(path ? { componentPath: path } : {}), path: shown.name, format: "convex_encoded_json", args: convexToJson(args) };
      return request(key, "/api/function", { json: body, ...(as === undefined ? {} : { as }) });
    };
    setOutcome(await outcomeOf(call));
    setRunning(false);
  };
  const isWatching = watched !== null;
  return (
    <div className="runner">
      <section className="panel">
        <h2>Arguments</h2>
        <CodeField label="Arguments" value={text} rows={7} onChange={setText} onSubmit={run} problem={wrong} />
        <details className="type">
          <summary>Types</summary>
          <pre>
            {typeOf(shown.args)}
            {"\n=> "}
            {typeOf(shown.returns)}
          </pre>
        </details>
        <label className="switch">
          <input type="checkbox" checked={isActing} onChange={(event) => setActing(event.target.checked)} />
          Act as a user
        </label>
        {isActing && (
          <CodeField
            label="Identity"
            rows={4}
            placeholder={'{ subject: "…", issuer: "https://…", name: "Ada" }'}
            value={identity}
            onChange={setIdentity}
            onSubmit={run}
            problem={acting?.wrong ?? null}
          />
        )}
        <footer>
          {shown.kind === "Query" && (
            <Button icon={isWatching ? "pause" : "health"} disabled={args === null || isActing} onClick={() => setWatched(isWatching ? null : args)}>
              {isWatching ? "Stop watching" : "Watch live"}
            </Button>
          )}
          <span className="grow" />
          <RunButton isBusy={isRunning} disabled={args === null || Boolean(acting?.wrong)} onClick={run} />
        </footer>
      </section>
      <ResultPanel outcome={outcome} isWatching={isWatching} />
    </div>
  );
}

function Result({ outcome: { isLive, value, error, data, lines } }: { outcome: Outcome }) {
  const box = useRef<HTMLPreElement>(null);
  const text = value === undefined ? "" : print(value, true);
  return (
    <>
      {error !== null && <Problem message={error} />}
      {data !== undefined && <pre className="value">{print(data, true)}</pre>}
      {error === null && (
        <div className="value-box">
          <pre className="value" ref={box} tabIndex={0} aria-label="Value">
            {text}
          </pre>
          <CopyButton text={text} label="Copy the value" />
        </div>
      )}
      {lines.length > 0 && (
        <>
          <h3>Log</h3>
          <ol className="lines">
            {lines.map((line, at) => (
              <li key={at} className={`level-${/^\[(\w+)\]/.exec(line)?.[1] ?? "LOG"}`}>
                {line}
              </li>
            ))}
          </ol>
        </>
      )}
      {lines.length === 0 && error === null && !isLive && (
        <p className="soft small">
          <Icon name="logs" size={13} /> It printed nothing.
        </p>
      )}
    </>
  );
}

function readObject(text: string): { args: Record<string, Value> | null; wrong: string | null } {
  try {
    const value = parse(text);
    if (value === null || typeof value !== "object" || Array.isArray(value) || value instanceof ArrayBuffer) {
      return { args: null, wrong: "This must be an object." };
    }
    return { args: value as Record<string, Value>, wrong: null };
  } catch (error) {
    return { args: null, wrong: (error as Error).message };
  }
}

/** Calls name components by their path. */
function useComponentPath(component: string | null): string | null {
  return useComponents().find(({ id }) => id === component)?.path ?? null;
}
