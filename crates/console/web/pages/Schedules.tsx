// What is going to run, and what has.
import { useState } from "react";
import { usePaginatedQuery } from "convex/react";
import { makeFunctionReference, type PaginationOptions, type PaginationResult } from "convex/server";
import { print } from "../literal";
import type { Value } from "convex/values";
import { messageOf, useComponent, useLive } from "../live";
import { request, useSession } from "../session";
import { Badge, Button, Dialog, Empty, IconButton, Loading, Page, Problem, Tabs, Time, countOf, dateOf, durationOf, useNow, useQuestion, useToast } from "../ui";
import { navigate, hrefOf, useRoute } from "../route";

const VIEWS = [
  ["upcoming", "Upcoming"],
  ["past", "Past"],
  ["crons", "Cron jobs"],
] as const;
type View = (typeof VIEWS)[number][0];

interface Job {
  _id: string;
  name: string;
  args: Value[];
  scheduledTime: number;
  completedTime?: number;
  state: { kind: "pending" | "inProgress" | "success" | "failed" | "canceled"; error?: string };
}

/** Runs that are looked at: the next ones of the deployment, of which the component's own are shown. */
const UPCOMING = 100;

export function Schedules() {
  const route = useRoute();
  const component = useComponent();
  const [view] = VIEWS.find(([view]) => view === route.rest[0]) ?? VIEWS[0];
  return (
    <Page title="Schedules" isWide hint="Functions that run later, and those that run again and again">
      <Tabs<View>
        label="Schedules"
        value={view}
        onChange={(view) => navigate(hrefOf("schedules", [view], { component }))}
        options={VIEWS.map(([view, name]) => [view, name])}
      />
      {view === "upcoming" && <Upcoming />}
      {view === "past" && <Past />}
      {view === "crons" && <Crons />}
    </Page>
  );
}

function Upcoming() {
  const { key } = useSession();
  const componentId = useComponent();
  const upcoming = useLive<{ jobs: (Job & { nextTs: number })[]; hasMore: boolean }>("_system/frontend/scheduler:upcomingJobs", { componentId, limit: UPCOMING });
  const now = useNow(1_000);
  const toast = useToast();
  const { ask, question } = useQuestion();
  const cancel = async (id: string) => {
    try {
      await request(key, "/api/cancel_job", { json: { id, componentId } });
      toast("Cancelled the function");
    } catch (error) {
      toast(messageOf(error), "bad");
    }
  };
  const cancelAll = () =>
    ask({
      title: "Cancel all scheduled functions?",
      text: <p>None of those that wait will run. This can't be undone.</p>,
      button: "Cancel all",
      act: async () => {
        const { canceled } = await (await request(key, "/api/cancel_all_jobs", { json: { componentId } })).json();
        toast(`Cancelled ${countOf(canceled)}`);
      },
    });
  if (upcoming.state !== "ready") {
    return upcoming.state === "error" ? <Problem message={upcoming.message} /> : <Loading />;
  }
  const { jobs, hasMore } = upcoming.value;
  if (jobs.length === 0) {
    return hasMore ? (
      <Empty icon="schedules" title="None among the deployment's next runs">
        More wait behind them, and are shown when their turn comes.
      </Empty>
    ) : (
      <Empty icon="schedules" title="Nothing is scheduled">
        Functions schedule others by <code>ctx.scheduler.runAfter</code> and <code>runAt</code>.
      </Empty>
    );
  }
  return (
    <>
      <div className="table-head">
        <p className="soft">{hasMore ? `The next ${countOf(jobs.length)}` : `${countOf(jobs.length)} waiting`}</p>
        <Button icon="close" look="quiet" onClick={cancelAll}>
          Cancel all
        </Button>
      </div>
      <div className="table-box">
        <table className="list" aria-label="Upcoming functions">
          <thead>
            <tr>
              <th>Runs</th>
              <th>Function</th>
              <th>Arguments</th>
              <th aria-label="Actions" />
            </tr>
          </thead>
          <tbody>
            {jobs.map((job) => (
              <tr key={job._id}>
                <td className="nowrap">
                  <Time ms={job.nextTs} now={now} />{" "}
                  {job.nextTs < now - 5_000 && <Badge tone="warn">late</Badge>}
                </td>
                <td>
                  <code>{job.name.replace(".js:", ":")}</code>
                </td>
                <td className="cut">
                  <code>{job.args.map((value) => print(value)).join(", ")}</code>
                </td>
                <td className="actions-cell">
                  <IconButton icon="close" label={`Cancel ${job.name}`} onClick={() => cancel(job._id)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {question}
    </>
  );
}

const PAST = makeFunctionReference<
  "query",
  { paginationOpts: PaginationOptions; table: string; filters: string; componentId: string | null },
  PaginationResult<Job>
>("_system/frontend/paginatedTableDocuments:default");
/** Those that have come to their end, the latest first. */
const ENDED = btoa(JSON.stringify({ clauses: [{ field: "completedTime", op: "exists" }], order: "desc" }));

const TONES = { success: "good", failed: "bad", canceled: "neutral", pending: "neutral", inProgress: "live" } as const;

function Past() {
  const componentId = useComponent();
  const { results, status, loadMore } = usePaginatedQuery(PAST, { table: "_scheduled_functions", filters: ENDED, componentId }, { initialNumItems: 50 });
  const now = useNow(10_000);
  if (status === "LoadingFirstPage") {
    return <Loading />;
  }
  if (results.length === 0 && status === "Exhausted") {
    return (
      <Empty icon="schedules" title="No scheduled function has run lately">
        What has run is kept for some days.
      </Empty>
    );
  }
  return (
    <>
      <div className="table-box">
        <table className="list" aria-label="Past functions">
          <thead>
            <tr>
              <th>Ended</th>
              <th>Outcome</th>
              <th>Function</th>
              <th>Arguments</th>
              <th className="number">Delay</th>
            </tr>
          </thead>
          <tbody>
            {results.map((job) => (
              <tr key={job._id}>
                <td className="nowrap">{job.completedTime !== undefined && <Time ms={job.completedTime} now={Math.max(now, job.completedTime)} />}</td>
                <td>
                  <Badge tone={TONES[job.state.kind]}>{job.state.kind}</Badge>
                </td>
                <td>
                  <code>{job.name.replace(".js:", ":")}</code>
                  {job.state.error && <p className="line level-ERROR">{job.state.error.split("\n")[0]}</p>}
                </td>
                <td className="cut">
                  <code>{job.args.map((value) => print(value)).join(", ")}</code>
                </td>
                <td className="number">{job.completedTime !== undefined && job.state.kind !== "canceled" && durationOf(Math.max(0, job.completedTime - job.scheduledTime))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {status === "CanLoadMore" && (
        <p className="grid-foot">
          <Button look="quiet" onClick={() => loadMore(50)}>
            Load more
          </Button>
        </p>
      )}
    </>
  );
}

/** As it is declared; its numbers are integers of 64 bits. */
interface Schedule {
  type: "interval" | "hourly" | "daily" | "weekly" | "monthly" | "cron";
  seconds?: bigint;
  minutes?: bigint;
  hours?: bigint;
  minuteUTC?: bigint | null;
  hourUTC?: bigint;
  dayOfWeek?: string;
  day?: bigint;
  cron?: string;
}

interface CronRun {
  _id: string;
  name: string;
  ts: bigint;
  udfPath: string;
  status: { type: string; error?: string; result?: unknown };
  logLines: { logLines: string[]; isTruncated: boolean };
  executionTime: number;
}

interface Cron {
  _id: string;
  name: string;
  cronSpec: { udfPath: string; udfArgs: ArrayBuffer | string; cronSchedule: Schedule };
  lastRun: CronRun | null;
  nextRun: { nextTs: bigint; state: { type: string } } | null;
}

function scheduleText(schedule: Schedule): string {
  const two = (number: bigint | null | undefined) => (number == null ? "··" : String(number).padStart(2, "0"));
  const time = `at ${two(schedule.hourUTC)}:${two(schedule.minuteUTC)} UTC`;
  switch (schedule.type) {
    case "interval": {
      const [unit, count] = (["hours", "minutes", "seconds"] as const).map((unit) => [unit, schedule[unit]] as const).find(([, count]) => count !== undefined) ?? ["seconds", 0n];
      return count === 1n ? `every ${unit.slice(0, -1)}` : `every ${count} ${unit}`;
    }
    case "hourly":
      return `hourly at :${two(schedule.minuteUTC)}`;
    case "daily":
      return `daily ${time}`;
    case "weekly":
      return `${schedule.dayOfWeek?.replace(/^./, (letter) => letter.toUpperCase())}s ${time}`;
    case "monthly":
      return `on day ${schedule.day} ${time}`;
    case "cron":
      return schedule.cron ?? "";
  }
}

/** The system notes times of cron jobs in nanoseconds. */
const msOf = (nanoseconds: bigint) => Number(nanoseconds / 1_000_000n);

function Crons() {
  const componentId = useComponent();
  const crons = useLive<Cron[]>("_system/frontend/listCronJobs:default", { componentId });
  const [opened, setOpened] = useState<string | null>(null);
  const now = useNow(1_000);
  if (crons.state !== "ready") {
    return crons.state === "error" ? <Problem message={crons.message} /> : <Loading />;
  }
  if (crons.value.length === 0) {
    return (
      <Empty icon="schedules" title="There are no cron jobs">
        The file <code>convex/crons.ts</code> declares them.
      </Empty>
    );
  }
  return (
    <>
      <div className="table-box">
        <table className="list" aria-label="Cron jobs">
          <thead>
            <tr>
              <th>Name</th>
              <th>Schedule</th>
              <th>Function</th>
              <th>Next run</th>
              <th>Last run</th>
              <th aria-label="Runs" />
            </tr>
          </thead>
          <tbody>
            {crons.value.map(({ _id, name, cronSpec, lastRun, nextRun }) => (
              <tr key={_id}>
                <td>
                  <strong>{name}</strong>
                </td>
                <td className="nowrap">{scheduleText(cronSpec.cronSchedule)}</td>
                <td>
                  <code>{cronSpec.udfPath.replace(".js:", ":")}</code>
                </td>
                <td className="nowrap">
                  {nextRun?.state.type === "inProgress" ? <Badge tone="live">running</Badge> : nextRun && <Time ms={msOf(nextRun.nextTs)} now={now} />}
                </td>
                <td className="nowrap">
                  {lastRun ? (
                    <>
                      <RunBadge run={lastRun} /> <Time ms={msOf(lastRun.ts)} now={now} />
                    </>
                  ) : (
                    <span className="soft">never</span>
                  )}
                </td>
                <td className="actions-cell">
                  <IconButton icon="logs" label={`Runs of ${name}`} onClick={() => setOpened(name)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {opened !== null && <CronRuns name={opened} onClose={() => setOpened(null)} />}
    </>
  );
}

function RunBadge({ run: { status } }: { run: CronRun }) {
  switch (status.type) {
    case "success":
      return <Badge tone="good">success</Badge>;
    case "err":
      return <Badge tone="bad">failed</Badge>;
    default:
      return <Badge tone="warn">left out</Badge>;
  }
}

function CronRuns({ name, onClose }: { name: string; onClose: () => void }) {
  const componentId = useComponent();
  const runs = useLive<CronRun[]>("_system/frontend/listCronJobRuns:default", { componentId });
  const own = runs.state === "ready" ? runs.value.filter((run) => run.name === name) : [];
  return (
    <Dialog title={`Runs of ${name}`} look="drawer" onClose={onClose}>
      {runs.state === "loading" && <Loading />}
      {runs.state === "error" && <Problem message={runs.message} />}
      {runs.state === "ready" && own.length === 0 && <Empty icon="schedules" title="It has not run yet" />}
      <ol className="runs">
        {own.map((run) => (
          <li key={run._id}>
            <p>
              <RunBadge run={run} /> {dateOf(msOf(run.ts))}{" "}
              <span className="soft">{durationOf(run.executionTime * 1_000)}</span>
            </p>
            {run.status.error && <Problem message={run.status.error} />}
            {run.logLines.logLines.map((line, at) => (
              <p key={at} className="line">
                {line}
              </p>
            ))}
          </li>
        ))}
      </ol>
    </Dialog>
  );
}
