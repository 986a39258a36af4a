// Documents in rows, to be walked through by the keyboard and edited field by field.
import { useEffect, useRef, useState, type KeyboardEvent } from "react";
import type { Value } from "convex/values";
import { IconButton, dateOf } from "../ui";
import { messageOf } from "../live";
import { parse, print } from "../literal";

export type Row = { _id: string; _creationTime: number } & Record<string, Value>;

/** Characters of a value that a cell holds; the rest is cut. */
const SHOWN = 120;

interface Place {
  row: number;
  column: number;
}

export function Grid({
  rows,
  columns,
  isReadOnly,
  selected,
  onSelect,
  onOpen,
  onDelete,
  onSet,
  onEnd,
}: {
  rows: Row[];
  columns: string[];
  isReadOnly: boolean;
  selected: ReadonlySet<string>;
  onSelect: (ids: ReadonlySet<string>) => void;
  onOpen: (row: Row) => void;
  onDelete: (ids: string[]) => void;
  onSet: (row: Row, field: string, value: Value | undefined) => Promise<void>;
  onEnd: () => void;
}) {
  const [focus, setFocus] = useState<Place>({ row: 0, column: 0 });
  const [editing, setEditing] = useState<{ id: string; field: string } | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const at = { row: Math.min(focus.row, rows.length - 1), column: Math.min(focus.column, columns.length - 1) };

  const cellAt = ({ row, column }: Place) => scroller.current?.querySelector<HTMLElement>(`[data-cell="${row}:${column}"]`);
  const moveTo = (place: Place) => {
    setFocus(place);
    const cell = cellAt(place);
    cell?.focus();
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const toggle = (id: string) => {
    const next = new Set(selected);
    if (!next.delete(id)) {
      next.add(id);
    }
    onSelect(next);
  };
  const edit = (place: Place) => {
    const row = rows[place.row]!;
    const field = columns[place.column]!;
    if (isReadOnly || field.startsWith("_")) {
      onOpen(row);
    } else {
      setEditing({ id: row._id, field });
    }
  };
  const pressed = (event: KeyboardEvent) => {
    if (editing || !(event.target as HTMLElement).matches("[data-cell]")) {
      return;
    }
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (step) {
      event.preventDefault();
      const row = Math.max(0, Math.min(rows.length - 1, at.row + step[0]!));
      const column = Math.max(0, Math.min(columns.length - 1, at.column + step[1]!));
      if (event.key === "ArrowDown" && row === at.row) {
        onEnd();
      }
      moveTo({ row, column });
    } else if (event.key === "Enter") {
      event.preventDefault();
      edit(at);
    } else if (event.key === " ") {
      event.preventDefault();
      toggle(rows[at.row]!._id);
    } else if (event.key === "Delete" && !isReadOnly) {
      onDelete(selected.size > 0 ? [...selected] : [rows[at.row]!._id]);
    }
  };
  const isAll = rows.length > 0 && rows.every(({ _id }) => selected.has(_id));
  return (
    <div
      className="grid-scroller"
      ref={scroller}
      onKeyDown={pressed}
      onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => scrollTop + clientHeight > scrollHeight - 80 && onEnd()}
    >
      <table className="grid" role="grid" aria-label="Documents" aria-rowcount={-1}>
        <thead>
          <tr>
            {!isReadOnly && (
              <th className="check">
                <input
                  type="checkbox"
                  aria-label="Select all that are shown"
                  checked={isAll}
                  onChange={() => onSelect(isAll ? new Set() : new Set(rows.map(({ _id }) => _id)))}
                />
              </th>
            )}
            {columns.map((column) => (
              <th key={column} scope="col" className={column === "_id" ? "id" : undefined}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, rowAt) => (
            <tr key={row._id} aria-selected={selected.has(row._id)}>
              {!isReadOnly && (
                <td className="check">
                  <input type="checkbox" aria-label={`Select ${row._id}`} checked={selected.has(row._id)} onChange={() => toggle(row._id)} />
                </td>
              )}
              {columns.map((column, columnAt) => {
                const place = { row: rowAt, column: columnAt };
                const isEdited = editing?.id === row._id && editing.field === column;
                return (
                  <td
                    key={column}
                    role="gridcell"
                    data-cell={`${rowAt}:${columnAt}`}
                    data-field={column}
                    className={`${column === "_id" ? "id" : ""} ${kindOf(row[column])}`}
                    tabIndex={rowAt === at.row && columnAt === at.column ? 0 : -1}
                    onFocus={() => setFocus(place)}
                    onDoubleClick={() => edit(place)}
                    onClick={() => column === "_id" && onOpen(row)}
                  >
                    <Cell column={column} value={row[column]} />
                    {column === "_id" && <IconButton icon="open" label={`Open ${row._id}`} tabIndex={-1} />}
                    {isEdited && (
                      <CellEditor
                        field={column}
                        value={row[column]}
                        onSet={(value) => onSet(row, column, value)}
                        onClose={() => {
                          setEditing(null);
                          cellAt(place)?.focus();
                        }}
                      />
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function kindOf(value: Value | undefined): string {
  if (value === undefined) {
    return "absent";
  }
  if (value === null) {
    return "null";
  }
  return typeof value === "object" ? "structure" : typeof value;
}

function Cell({ column, value }: { column: string; value: Value | undefined }) {
  if (column === "_creationTime" && typeof value === "number") {
    return <time title={String(value)}>{dateOf(value)}</time>;
  }
  if (value === undefined) {
    return <>–</>;
  }
  const text = typeof value === "string" ? value : print(value);
  return <span title={text.length > 30 ? text.slice(0, 1_000) : undefined}>{text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text}</span>;
}

/** A field of a document while somebody writes it. Enter keeps it, Escape leaves it as it was; nothing takes the field away. */
function CellEditor({ field, value, onSet, onClose }: { field: string; value: Value | undefined; onSet: (value: Value | undefined) => Promise<void>; onClose: () => void }) {
  const [text, setText] = useState(value === undefined ? "" : print(value, true));
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => area.current?.select(), []);
  const save = async () => {
    if (isBusy) {
      return;
    }
    setBusy(true);
    try {
      await onSet(text.trim() === "" ? undefined : parse(text));
      onClose();
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  };
  return (
    <div
      className="cell-editor"
      onClick={(event) => event.stopPropagation()}
      onDoubleClick={(event) => event.stopPropagation()}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Escape") {
          onClose();
        } else if (event.key === "Enter" && !event.shiftKey) {
          event.preventDefault();
          void save();
        }
      }}
      onBlur={(event) => !event.currentTarget.contains(event.relatedTarget) && problem === null && !isBusy && onClose()}
    >
      <textarea ref={area} aria-label={`Value of ${field}`} value={text} spellCheck={false} autoFocus rows={Math.min(12, text.split("\n").length)} onChange={(event) => setText(event.target.value)} />
      {problem && <p className="field-problem">{problem}</p>}
      <p className="soft keys">
        <kbd>Enter</kbd> saves <kbd>Esc</kbd> leaves it {isBusy && <span className="spinner" />}
      </p>
    </div>
  );
}
