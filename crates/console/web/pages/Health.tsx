// How the deployment is: what runs, how fast, what fails.
import { useEffect, useMemo, useState } from "react";
import { useFunctionHref } from "../catalog";
import { Chart, type Series } from "../chart";
import { type Kind, type LogStream, MINUTE_MS, type Minutes, type Tally, useLog } from "../logs";
import { useComponent, useLive } from "../live";
import { navigate } from "../route";
import { base } from "../session";
import { Badge, Empty, Loading, Page, Problem, Tabs, countOf, durationOf, useNow } from "../ui";
import { KindMark } from "./Functions";

const PING_MS = 5_000;
const FUNCTIONS_SHOWN = 20;
const SPANS = [
  ["15", "15 min"],
  ["30", "30 min"],
  ["60", "1 hour"],
] as const;
type Span = (typeof SPANS)[number][0];

const KINDS: [Kind, string, string][] = [
  ["Query", "Queries", "query"],
  ["Mutation", "Mutations", "mutation"],
  ["Action", "Actions", "action"],
  ["HttpAction", "HTTP actions", "http"],
];

function quantile(sorted: number[], part: number): number | null {
  return sorted.length === 0 ? null : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!;
}

const numbers = (one: number, other: number) => one - other;

/** What functions did in a time, each minute apart. */
type Seen = Tally[][];

function durationsOf(tallies: Tally[]): number[] {
  return tallies.flatMap(({ durationsMs }) => durationsMs).sort(numbers);
}

const sumOf = (tallies: Tally[], count: (tally: Tally) => number) => tallies.reduce((sum, tally) => sum + count(tally), 0);

export function Health({ logs }: { logs: LogStream }) {
  const { minutes: all, isLoaded, problem } = useLog(logs);
  const [span, setSpan] = useState<Span>("30");
  const now = useNow(5_000);
  const count = Number(span);
  const first = (Math.floor(now / MINUTE_MS) - count + 1) * MINUTE_MS;
  const times = useMemo(() => Array.from({ length: count }, (_, minute) => first + minute * MINUTE_MS), [first, count]);
  const seen = useMemo(() => seenIn(all, times), [all, times]);
  const plots = useMemo(() => plotsOf(seen), [seen]);
  return (
    <Page
      title="Health"
      isWide
      hint="From the executions that this server remembers, and all that come while this tab is open"
      actions={<Tabs<Span> label="Time" value={span} onChange={setSpan} options={SPANS.map(([value, name]) => [value, name])} />}
    >
      {problem && <Problem message={`The log can't be followed: ${problem}`} />}
      <Tiles seen={seen} />
      {!isLoaded && !problem ? (
        <Loading />
      ) : (
        <>
          <div className="charts">
            <Chart title="Executions" hint="a minute" look="bars" series={plots.calls} times={times} format={countOf} least={4} />
            <Chart title="Time to run" hint="by minute" look="lines" series={plots.times} times={times} format={shortDuration} least={1} />
            <Chart title="Failures" hint="a minute" look="bars" series={plots.failures} times={times} format={countOf} least={2} />
            <Chart title="Conflicts" hint="a minute" look="bars" series={plots.conflicts} times={times} format={countOf} least={2} />
          </div>
          <ByFunction seen={seen} />
        </>
      )}
    </Page>
  );
}

function seenIn(all: Minutes, times: number[]): Seen {
  return times.map((time) => [...(all.get(time)?.values() ?? [])]);
}

const shortDuration = (ms: number) => (ms >= 1_000 ? `${ms / 1_000} s` : ms < 10 && !Number.isInteger(ms) ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

interface Plots {
  calls: Series[];
  times: Series[];
  failures: Series[];
  conflicts: Series[];
}

function plotsOf(seen: Seen): Plots {
  const count = (of: (tally: Tally) => number) => seen.map((minute) => sumOf(minute, of));
  const durations = seen.map(durationsOf);
  return {
    calls: KINDS.map(([kind, name, tone]) => ({ name, tone, values: count((tally) => (tally.kind === kind ? tally.calls : 0)) })),
    times: [
      { name: "half are faster", tone: "median", values: durations.map((minute) => quantile(minute, 0.5)) },
      { name: "95 % are faster", tone: "slow", values: durations.map((minute) => quantile(minute, 0.95)) },
    ],
    failures: [{ name: "Failed", tone: "bad", values: count(({ failed }) => failed) }],
    conflicts: [
      { name: "Run again", tone: "again", values: count(({ again }) => again) },
      { name: "Given up", tone: "bad", values: count(({ givenUp }) => givenUp) },
    ],
  };
}

function Tiles({ seen }: { seen: Seen }) {
  const componentId = useComponent();
  const upcoming = useLive<{ jobs: { nextTs: number }[]; hasMore: boolean }>("_system/frontend/scheduler:upcomingJobs", { componentId, limit: 100 });
  const ping = usePing();
  const now = useNow(5_000);
  const tallies = seen.flat();
  const calls = sumOf(tallies, ({ calls }) => calls);
  const failed = sumOf(tallies, ({ failed }) => failed);
  const share = calls === 0 ? 0 : failed / calls;
  const slow = quantile(durationsOf(tallies), 0.95);
  const jobs = upcoming.state === "ready" ? upcoming.value : null;
  const late = jobs?.jobs.filter(({ nextTs }) => nextTs < now - 5_000).length ?? 0;
  return (
    <ul className="tiles">
      <Tile name="Executions" value={countOf(calls)} note={`in ${seen.length} minutes`} />
      <Tile name="Failed" value={`${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`} note={failed === 0 ? "none" : `${countOf(failed)} of them`} tone={share > 0.05 ? "bad" : share > 0 ? "warn" : "good"} />
      <Tile name="95 % run within" value={slow === null ? "–" : durationOf(slow)} note="on the server" />
      <Tile
        name="Scheduled"
        value={jobs === null ? "–" : `${countOf(jobs.jobs.length)}${jobs.hasMore ? "+" : ""}`}
        note={jobs === null ? " " : late > 0 ? `${countOf(late)} late` : "all in time"}
        {...(jobs !== null && { tone: late > 0 ? "warn" : "good" })}
      />
      <Tile name="Answers within" value={ping === null ? "–" : ping === "lost" ? "–" : durationOf(ping)} note={ping === "lost" ? "not reached" : "from this browser"} tone={ping === "lost" ? "bad" : "good"} />
    </ul>
  );
}

function Tile({ name, value, note, tone }: { name: string; value: string; note: string; tone?: string }) {
  return (
    <li className="panel tile">
      <span className="label">{name}</span>
      <strong>{value}</strong>
      <span className="soft">
        {tone && <span className={`dot ${tone}`} />}
        {note}
      </span>
    </li>
  );
}

/** How long a small answer takes; null before the first one. */
function usePing(): number | "lost" | null {
  const [ping, setPing] = useState<number | "lost" | null>(null);
  useEffect(() => {
    const measure = async () => {
      const began = performance.now();
      try {
        await (await fetch(`${base}/version`)).text();
        setPing(performance.now() - began);
      } catch {
        setPing("lost");
      }
    };
    void measure();
    const timer = setInterval(measure, PING_MS);
    return () => clearInterval(timer);
  }, []);
  return ping;
}

function ByFunction({ seen }: { seen: Seen }) {
  const functionHref = useFunctionHref();
  const rows = useMemo(() => {
    const groups = Object.entries(Object.groupBy(seen.flat(), ({ kind, component, function: name }) => `${kind} ${component ?? ""} ${name}`));
    return groups
      .map(([id, tallies = []]) => {
        const durations = durationsOf(tallies);
        const { function: name, kind, component } = tallies[0]!;
        const [calls, failed] = [sumOf(tallies, ({ calls }) => calls), sumOf(tallies, ({ failed }) => failed)];
        return { id, name, kind, component, calls, failed, median: quantile(durations, 0.5)!, slow: quantile(durations, 0.95)! };
      })
      .sort((one, other) => other.calls - one.calls)
      .slice(0, FUNCTIONS_SHOWN);
  }, [seen]);
  const most = rows[0]?.calls ?? 1;
  if (rows.length === 0) {
    return (
      <Empty icon="health" title="Nothing has run in this time">
        As soon as clients call functions, their numbers are here.
      </Empty>
    );
  }
  return (
    <section>
      <h2 className="section-title">By function</h2>
      <div className="table-box">
        <table className="list" aria-label="By function">
          <thead>
            <tr>
              <th>Function</th>
              <th>Executions</th>
              <th className="number">Failed</th>
              <th className="number">Half within</th>
              <th className="number">95 % within</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ id, name, kind, component: of, calls, failed, median, slow }) => (
              <tr key={id} className="clickable" onClick={() => kind !== "HttpAction" && navigate(functionHref(name, of))}>
                <td>
                  <KindMark kind={kind} />
                  <code>
                    {of && <span className="soft">{of}/</span>}
                    {name}
                  </code>
                </td>
                <td>
                  <span className="share">
                    <progress max={most} value={calls} aria-hidden="true" />
                    {countOf(calls)}
                  </span>
                </td>
                <td className="number">{failed === 0 ? <span className="soft">0</span> : <Badge tone="bad">{countOf(failed)}</Badge>}</td>
                <td className="number">{durationOf(median)}</td>
                <td className="number">{durationOf(slow)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
