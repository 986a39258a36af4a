// What functions have done and printed, as it happens.
import { useMemo, useRef, useState } from "react";
import { useFunctionHref } from "../catalog";
import { Icon } from "../icons";
import { type Execution, type Kind, type LogStream, useLog } from "../logs";
import { Badge, Button, CopyButton, Dialog, Empty, Loading, Page, Problem, SearchField, clockOf, countOf, dateOf, durationOf, useMatcher } from "../ui";
import { KindMark } from "./Functions";

/** Executions that are shown at once; older ones when they are asked for. */
const SHOWN = 200;

const KINDS: [Kind | "", string][] = [
  ["", "All kinds"],
  ["Query", "Queries"],
  ["Mutation", "Mutations"],
  ["Action", "Actions"],
  ["HttpAction", "HTTP actions"],
];
const OUTCOMES = [
  ["", "Everything"],
  ["printed", "With log lines"],
  ["warned", "Warnings and errors"],
  ["failed", "Failures"],
] as const;

type Wanted = (typeof OUTCOMES)[number][0];

const textOf = (execution: Execution) =>
  [execution.function, execution.component, execution.requestId, execution.error, ...execution.lines.map(({ text }) => text)].filter(Boolean).join("\n");

/** Failed for good: what is run again has not. */
const hasFailed = ({ error, willRetry }: Execution) => error !== null && !willRetry;

function fits(execution: Execution, kind: Kind | "", wanted: Wanted): boolean {
  if (kind && execution.kind !== kind) {
    return false;
  }
  switch (wanted) {
    case "printed":
      return execution.lines.length > 0;
    case "warned":
      return execution.error !== null || execution.lines.some(({ level }) => level === "WARN" || level === "ERROR");
    case "failed":
      return hasFailed(execution);
    default:
      return true;
  }
}

export function Logs({ logs }: { logs: LogStream }) {
  const { executions, isLoaded, problem } = useLog(logs);
  const [text, setText] = useState("");
  const [kind, setKind] = useState<Kind | "">("");
  const [wanted, setWanted] = useState<Wanted>("");
  const [most, setMost] = useState(SHOWN);
  const [paused, setPaused] = useState<readonly Execution[] | null>(null);
  const [opened, setOpened] = useState<Execution | null>(null);
  const matches = useMatcher(text);
  const source = paused ?? executions;
  const found = useMemo(() => source.filter((execution) => fits(execution, kind, wanted) && matches(textOf(execution))), [source, kind, wanted, matches]);
  const shown = useMemo(() => found.slice(-most).reverse(), [found, most]);
  const waiting = paused === null ? 0 : executions.filter(({ timeMs }) => timeMs > (paused.at(-1)?.timeMs ?? 0)).length;
  return (
    <Page
      title="Logs"
      isWide
      hint={isLoaded ? `${countOf(found.length)} of ${countOf(source.length)} executions, the newest first` : " "}
      actions={
        <Button icon={paused === null ? "pause" : "play"} onClick={() => setPaused(paused === null ? executions : null)}>
          {paused === null ? "Pause" : waiting > 0 ? `Go on · ${countOf(waiting)} new` : "Go on"}
        </Button>
      }
    >
      <div className="filters">
        <SearchField label="Search functions, messages, errors, request ids" value={text} onChange={setText} />
        <select aria-label="Kind" value={kind} onChange={(event) => setKind(event.target.value as Kind | "")}>
          {KINDS.map(([kind, name]) => (
            <option key={kind} value={kind}>
              {name}
            </option>
          ))}
        </select>
        <select aria-label="Outcome" value={wanted} onChange={(event) => setWanted(event.target.value as Wanted)}>
          {OUTCOMES.map(([outcome, name]) => (
            <option key={outcome} value={outcome}>
              {name}
            </option>
          ))}
        </select>
      </div>
      {problem && <Problem message={`The log can't be followed: ${problem}`} />}
      {!isLoaded && !problem && <Loading rows={8} />}
      {isLoaded && source.length === 0 && (
        <Empty icon="logs" title="Nothing has run yet">
          What functions do and print appears here at once.
        </Empty>
      )}
      {isLoaded && source.length > 0 && found.length === 0 && <Empty icon="search" title="Nothing fits the search" />}
      {shown.length > 0 && (
        <ol className="log" aria-label="Executions">
          {shown.map((execution) => (
            <Entry key={execution.id + execution.timeMs} execution={execution} onOpen={() => setOpened(execution)} />
          ))}
        </ol>
      )}
      {found.length > most && (
        <p className="grid-foot">
          <Button look="quiet" onClick={() => setMost(most + SHOWN)}>
            Show older ones
          </Button>
        </p>
      )}
      {opened && <Details execution={opened} onClose={() => setOpened(null)} />}
    </Page>
  );
}

function Entry({ execution, onOpen }: { execution: Execution; onOpen: () => void }) {
  const failed = hasFailed(execution);
  const isNew = useRef(Date.now() - execution.timeMs < 3_000).current;
  return (
    <li className={`${failed ? "failed" : ""} ${isNew ? "new" : ""}`}>
      <button type="button" className="entry" onClick={onOpen} aria-label={`${execution.function}, ${failed ? "failed" : execution.willRetry ? "to be run again" : "succeeded"}, at ${clockOf(execution.timeMs)}`}>
        <time title={dateOf(execution.timeMs)}>{clockOf(execution.timeMs)}</time>
        <KindMark kind={execution.kind} />
        <span className="name">
          {execution.component && <span className="soft">{execution.component}/</span>}
          {execution.function}
        </span>
        {execution.conflict !== null && <Badge tone="warn">conflict</Badge>}
        {execution.willRetry && <Badge tone="warn">again</Badge>}
        {failed && <Badge tone="bad">failed</Badge>}
        {execution.status && <Badge tone={Number(execution.status) >= 400 ? "bad" : "neutral"}>{execution.status}</Badge>}
        <span className="duration">{durationOf(execution.durationMs)}</span>
      </button>
      {execution.lines.map((line, at) => (
        <p key={at} className={`line level-${line.level}`}>
          <span className="level">{line.level.toLowerCase()}</span>
          <span>{line.text}</span>
        </p>
      ))}
      {execution.error !== null && (
        <p className={`line level-${failed ? "ERROR" : "WARN"}`}>
          <span className="level">{failed ? "error" : "again"}</span>
          <span>{execution.error.split("\n")[0]}</span>
        </p>
      )}
    </li>
  );
}

const CALLERS: Record<string, string> = {
  SyncWorker: "a client, by WebSocket",
  HttpApi: "a client, by HTTP",
  HttpEndpoint: "an HTTP request",
  Scheduler: "the scheduler",
  Cron: "a cron job",
  Action: "an action",
};

const IDENTITIES: Record<string, string> = { user: ", in a user's name", instance_admin: ", as administrator" };

function Details({ execution, onClose }: { execution: Execution; onClose: () => void }) {
  const functionHref = useFunctionHref();
  const facts: [string, string][] = [
    ["Ended", `${dateOf(execution.timeMs)}`],
    ["Took", durationOf(execution.durationMs)],
    ["Called by", `${CALLERS[execution.caller] ?? execution.caller}${IDENTITIES[execution.identity] ?? ""}`],
    ["Request", execution.requestId],
    ["Execution", execution.id],
    ...(execution.component ? ([["Component", execution.component]] as [string, string][]) : []),
    ...(execution.conflict !== null ? ([["Conflict", execution.conflict || "another commit was in the way"]] as [string, string][]) : []),
  ];
  return (
    <Dialog title={execution.function} look="drawer" onClose={onClose}>
      <dl className="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              {name === "Request" || name === "Execution" ? (
                <>
                  <code>{value}</code> <CopyButton text={value} label={`Copy the ${name.toLowerCase()}'s id`} />
                </>
              ) : (
                value
              )}
            </dd>
          </div>
        ))}
      </dl>
      {execution.error !== null && <Problem message={execution.error} />}
      <h3>Log lines</h3>
      {execution.lines.length === 0 ? (
        <p className="soft">It printed nothing.</p>
      ) : (
        <ol className="lines">
          {execution.lines.map((line, at) => (
            <li key={at} className={`level-${line.level}`}>
              <span className="soft">{clockOf(line.timeMs)}</span> <span className="level">{line.level.toLowerCase()}</span> {line.text}
            </li>
          ))}
        </ol>
      )}
      {execution.kind !== "HttpAction" && (
        <footer>
          <a className="button" href={functionHref(execution.function, execution.component)}>
            <Icon name="functions" />
            Show the function
          </a>
        </footer>
      )}
    </Dialog>
  );
}
