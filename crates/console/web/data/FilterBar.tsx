// Which documents are shown, and in which order.
import { useEffect, useState } from "react";
import type { Value } from "convex/values";
import type { TableSchema } from "../catalog";
import { Icon } from "../icons";
import { parse, print } from "../literal";
import { Button, IconButton } from "../ui";

export type Operator = "eq" | "neq" | "lt" | "lte" | "gt" | "gte" | "exists" | "missing";

export interface Clause {
  field: string;
  op: Operator;
  value: Value | undefined;
}

export interface Filters {
  clauses: Clause[];
  index: string | null;
  order: "asc" | "desc";
}

export const NO_FILTERS: Filters = { clauses: [], index: null, order: "desc" };

const OPERATORS: [Operator, string][] = [
  ["eq", "is"],
  ["neq", "is not"],
  ["lt", "<"],
  ["lte", "≤"],
  ["gt", ">"],
  ["gte", "≥"],
  ["exists", "is there"],
  ["missing", "is missing"],
];

const takesValue = (op: Operator) => op !== "exists" && op !== "missing";

/** A clause as it is typed. */
interface Draft {
  field: string;
  op: Operator;
  text: string;
}

function draftOf({ field, op, value }: Clause): Draft {
  return { field, op, text: value === undefined ? "" : print(value) };
}

/** What is typed as a value; a word without quotes is a text. */
function valueOf(text: string): Value {
  try {
    return parse(text);
  } catch (error) {
    if (/^[^"'`{[\d-]/.test(text)) {
      return text;
    }
    throw error;
  }
}

export function FilterBar({
  filters,
  onChange,
  schema,
  indexes,
}: {
  filters: Filters;
  onChange: (filters: Filters) => void;
  schema: TableSchema | null;
  indexes: { name: string; fields: string[] }[];
}) {
  const [drafts, setDrafts] = useState<Draft[]>(filters.clauses.map(draftOf));
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => setDrafts(filters.clauses.map(draftOf)), [filters.clauses]);
  const fields = schema?.documentType?.type === "object" ? Object.keys(schema.documentType.value) : [];

  const apply = (drafts: Draft[]) => {
    try {
      const complete = drafts.filter(({ field, op, text }) => field !== "" && (!takesValue(op) || text.trim() !== ""));
      const clauses = complete.map(({ field, op, text }) => ({ field, op, value: takesValue(op) ? valueOf(text.trim()) : undefined }));
      setProblem(null);
      if (JSON.stringify(complete) !== JSON.stringify(filters.clauses.map(draftOf))) {
        onChange({ ...filters, clauses });
      }
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  const set = (at: number, part: Partial<Draft>) => {
    const next = drafts.map((draft, index) => (index === at ? { ...draft, ...part } : draft));
    setDrafts(next);
    return next;
  };
  return (
    <div className="filters" role="search" aria-label="Filters">
      <div className="filter-rows">
        {drafts.map((draft, at) => (
          <div className="filter" key={at}>
            <input
              className="filter-field"
              list="filter-fields"
              aria-label="Field"
              placeholder="field"
              value={draft.field}
              spellCheck={false}
              autoFocus={draft.field === ""}
              onChange={(event) => set(at, { field: event.target.value })}
              onBlur={() => apply(drafts)}
              onKeyDown={(event) => event.key === "Enter" && apply(drafts)}
            />
            <select aria-label="Comparison" value={draft.op} onChange={(event) => apply(set(at, { op: event.target.value as Operator }))}>
              {OPERATORS.map(([op, text]) => (
                <option key={op} value={op}>
                  {text}
                </option>
              ))}
            </select>
            {takesValue(draft.op) && (
              <input
                className="filter-value"
                aria-label="Value"
                placeholder="value"
                value={draft.text}
                spellCheck={false}
                onChange={(event) => set(at, { text: event.target.value })}
                onBlur={() => apply(drafts)}
                onKeyDown={(event) => event.key === "Enter" && apply(drafts)}
              />
            )}
            <IconButton
              icon="close"
              label="Remove the filter"
              onClick={() => {
                const rest = drafts.filter((_, index) => index !== at);
                setDrafts(rest);
                apply(rest);
              }}
            />
          </div>
        ))}
        <Button icon="filter" look="quiet" onClick={() => setDrafts([...drafts, { field: "", op: "eq", text: "" }])}>
          {drafts.length === 0 ? "Filter" : "And"}
        </Button>
      </div>
      <div className="order">
        <label>
          <span className="soft">by</span>
          <select aria-label="Index" value={filters.index ?? ""} onChange={(event) => onChange({ ...filters, index: event.target.value || null })}>
            <option value="">creation time</option>
            {indexes.map(({ name, fields }) => (
              <option key={name} value={name}>
                {name} ({fields.join(", ")})
              </option>
            ))}
          </select>
        </label>
        <button type="button" className="button quiet" onClick={() => onChange({ ...filters, order: filters.order === "asc" ? "desc" : "asc" })}>
          <Icon name={filters.order === "asc" ? "up" : "down"} />
          {filters.order === "asc" ? "ascending" : "descending"}
        </button>
      </div>
      {problem && <p className="field-problem">{problem}</p>}
      <datalist id="filter-fields">
        {["_id", "_creationTime", ...fields].map((field) => (
          <option key={field} value={field} />
        ))}
      </datalist>
    </div>
  );
}
