// The log of executions, followed for as long as somebody is signed in.
import { useSyncExternalStore } from "react";
import { Refused, request } from "./session";

export type Kind = "Query" | "Mutation" | "Action" | "HttpAction";
export type Level = "DEBUG" | "LOG" | "INFO" | "WARN" | "ERROR";

export interface Line {
  level: Level;
  text: string;
  timeMs: number;
}

/** One run of a function. */
export interface Execution {
  id: string;
  kind: Kind;
  function: string;
  component: string | null;
  /** When it ended. */
  timeMs: number;
  durationMs: number;
  lines: Line[];
  error: string | null;
  caller: string;
  identity: string;
  requestId: string;
  willRetry: boolean;
  /** The table in which another commit was in the way. */
  conflict: string | null;
  status: string | null;
}

/** What one function did in one minute. */
export interface Tally {
  kind: Kind;
  function: string;
  component: string | null;
  calls: number;
  failed: number;
  /** Lost to other commits: and run again, and not. */
  again: number;
  givenUp: number;
  /** Of some of the calls, drawn evenly. */
  durationsMs: number[];
}

/** By the minute's beginning, then by function. */
export type Minutes = ReadonlyMap<number, ReadonlyMap<string, Tally>>;

export interface LogState {
  /** The oldest first. */
  executions: readonly Execution[];
  /** Also of executions that are not kept any more. */
  minutes: Minutes;
  /** Whether what the server had kept has arrived. */
  isLoaded: boolean;
  problem: string | null;
}

/** Executions that a tab keeps. */
const KEPT = 5_000;
export const MINUTE_MS = 60_000;
/** Minutes that are remembered. */
const MINUTES = 61;
/** Durations that are kept of a function's calls in one minute. */
const SAMPLES = 200;
const RETRY_MS = 2_000;

interface Entry {
  kind: string;
  udfType: Kind;
  identifier: string;
  componentPath: string | null;
  timestamp: number;
  executionTime: number;
  logLines: { messages: string[]; level: Level; timestamp: number; isTruncated: boolean }[];
  error: string | null;
  caller: string;
  identityType: string;
  requestId: string;
  executionId: string;
  willRetry: boolean;
  occInfo: { tableName: string } | null;
  success: { status?: string } | null;
}

export class LogStream {
  #state: LogState = { executions: [], minutes: new Map(), isLoaded: false, problem: null };
  #minutes = new Map<number, Map<string, Tally>>();
  #listeners = new Set<() => void>();
  #ended = new AbortController();

  constructor(readonly key: string) {}

  start() {
    this.#ended = new AbortController();
    void this.#follow(this.#ended.signal);
    return () => this.#ended.abort();
  }

  subscribe = (changed: () => void) => {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  };

  state = () => this.#state;

  async #follow(signal: AbortSignal) {
    let cursor = 0;
    this.#minutes = new Map();
    this.#set({ executions: [], minutes: new Map(), isLoaded: false, problem: null });
    while (!signal.aborted) {
      try {
        const response = await request(this.key, `/api/stream_function_logs?cursor=${cursor}`, { signal });
        const { entries, newCursor }: { entries: Entry[]; newCursor: number } = await response.json();
        cursor = newCursor;
        if (!signal.aborted) {
          this.#add(entries.map(executionOf));
        }
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        this.#set({ ...this.#state, problem: error instanceof Refused ? error.message : "The server can't be reached." });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #add(added: Execution[]) {
    let { executions, minutes } = this.#state;
    if (added.length > 0) {
      added.forEach((execution) => this.#tally(execution));
      for (const minute of [...this.#minutes.keys()].sort((one, other) => other - one).slice(MINUTES)) {
        this.#minutes.delete(minute);
      }
      executions = [...executions, ...added].slice(-KEPT);
      minutes = new Map(this.#minutes);
    }
    this.#set({ executions, minutes, isLoaded: true, problem: null });
  }

  #tally({ kind, function: name, component, timeMs, durationMs, error, conflict, willRetry }: Execution) {
    const minute = Math.floor(timeMs / MINUTE_MS) * MINUTE_MS;
    const tallies = this.#minutes.get(minute) ?? new Map<string, Tally>();
    this.#minutes.set(minute, tallies);
    const id = `${kind} ${component ?? ""} ${name}`;
    const tally = tallies.get(id) ?? { kind, function: name, component, calls: 0, failed: 0, again: 0, givenUp: 0, durationsMs: [] };
    tallies.set(id, tally);
    tally.calls += 1;
    if (conflict !== null) {
      tally[willRetry ? "again" : "givenUp"] += 1;
    } else if (error !== null) {
      tally.failed += 1;
    }
    const place = tally.durationsMs.length < SAMPLES ? tally.durationsMs.length : Math.floor(Math.random() * tally.calls);
    if (place < SAMPLES) {
      tally.durationsMs[place] = durationMs;
    }
  }

  #set(state: LogState) {
    this.#state = state;
    for (const changed of this.#listeners) {
      changed();
    }
  }
}

function executionOf(entry: Entry): Execution {
  return {
    id: entry.executionId,
    kind: entry.udfType,
    function: entry.identifier,
    component: entry.componentPath,
    timeMs: entry.timestamp * 1_000,
    durationMs: entry.executionTime * 1_000,
    lines: entry.logLines.map(({ level, messages, timestamp, isTruncated }) => ({
      level,
      text: `${messages.join(" ")}${isTruncated ? " (cut)" : ""}`,
      timeMs: timestamp,
    })),
    error: entry.error,
    caller: entry.caller,
    identity: entry.identityType,
    requestId: entry.requestId,
    willRetry: entry.willRetry,
    conflict: entry.occInfo?.tableName ?? null,
    status: entry.success?.status ?? null,
  };
}

export function useLog(stream: LogStream): LogState {
  return useSyncExternalStore(stream.subscribe, stream.state);
}
