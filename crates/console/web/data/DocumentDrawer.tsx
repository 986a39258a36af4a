// One document as a whole, or a new one.
import { useEffect, useMemo, useState } from "react";
import type { Value } from "convex/values";
import type { TableSchema } from "../catalog";
import { messageOf, useChange, useComponent, useLive } from "../live";
import { parse, print } from "../literal";
import { example, typeOf } from "../validators";
import { Button, CodeField, CopyButton, Dialog, Loading, Problem, dateOf, useToast } from "../ui";

type Fields = Record<string, Value>;

/** What functions can change: all but what the system has set. */
function ownFields(document: Fields): Fields {
  return Object.fromEntries(Object.entries(document).filter(([name]) => name !== "_id" && name !== "_creationTime"));
}

export function DocumentDrawer({
  table,
  id,
  schema,
  isReadOnly,
  onClose,
  onDelete,
}: {
  table: string;
  /** Null for a new document. */
  id: string | null;
  schema: TableSchema | null;
  isReadOnly: boolean;
  onClose: () => void;
  onDelete: (id: string) => void;
}) {
  const componentId = useComponent();
  const live = useLive<Fields | null>("_system/frontend/getById:default", id === null ? "skip" : { componentId, id });
  const title = id === null ? `New document in ${table}` : isReadOnly ? `Document of ${table}` : `Edit document`;
  return (
    <Dialog title={title} look="drawer" onClose={onClose}>
      {id === null && <Editor table={table} id={null} before={null} schema={schema} isReadOnly={false} onClose={onClose} onDelete={onDelete} />}
      {id !== null && live.state === "loading" && <Loading />}
      {live.state === "error" && <Problem message={live.message} />}
      {live.state === "ready" && live.value === null && <Problem message="The document is not there any more." />}
      {id !== null && live.state === "ready" && live.value !== null && (
        <Editor table={table} id={id} before={live.value} schema={schema} isReadOnly={isReadOnly} onClose={onClose} onDelete={onDelete} />
      )}
    </Dialog>
  );
}

function Editor({
  table,
  id,
  before,
  schema,
  isReadOnly,
  onClose,
  onDelete,
}: {
  table: string;
  id: string | null;
  before: Fields | null;
  schema: TableSchema | null;
  isReadOnly: boolean;
  onClose: () => void;
  onDelete: (id: string) => void;
}) {
  const change = useChange();
  const toast = useToast();
  const stored = useMemo(() => print(before ? ownFields(before) : schema?.documentType ? example(schema.documentType) : {}, true), [before, schema]);
  /** What somebody has written; null as long as nobody has. */
  const [draft, setDraft] = useState<string | null>(null);
  const [origin, setOrigin] = useState(stored);
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const text = draft ?? stored;
  const hasMoved = draft !== null && stored !== origin;
  useEffect(() => {
    if (draft === null) {
      setOrigin(stored);
    }
  }, [draft, stored]);

  const { value, wrong } = useMemo(() => {
    try {
      return { value: parse(text), wrong: null };
    } catch (error) {
      return { value: null, wrong: (error as Error).message };
    }
  }, [text]);
  const save = async () => {
    if (wrong || isReadOnly) {
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      if (id === null) {
        const documents = Array.isArray(value) ? value : [value];
        await change("_system/frontend/addDocument:default", { table, documents });
        toast(documents.length === 1 ? "Added the document" : `Added ${documents.length} documents`);
      } else {
        await change("_system/frontend/replaceDocument:default", { id, document: value });
        toast("Saved the document");
      }
      onClose();
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  };
  return (
    <>
      {before && id && (
        <dl className="facts">
          <div>
            <dt>_id</dt>
            <dd>
              <code>{id}</code> <CopyButton text={id} label="Copy the id" />
            </dd>
          </div>
          <div>
            <dt>_creationTime</dt>
            <dd>
              {dateOf(before["_creationTime"] as number)} <span className="soft">{String(before["_creationTime"])}</span>
            </dd>
          </div>
        </dl>
      )}
      {hasMoved && (
        <p className="note" role="status">
          The document has changed since you began. Saving puts yours in its place.{" "}
          <button type="button" className="link" onClick={() => setDraft(null)}>
            Show what it is now
          </button>
        </p>
      )}
      <CodeField
        label="Document"
        className="tall"
        value={text}
        readOnly={isReadOnly}
        autoFocus
        onChange={setDraft}
        onSubmit={save}
        problem={wrong}
      />
      {schema?.documentType && (
        <details className="type">
          <summary>What the schema asks for</summary>
          <pre>{typeOf(schema.documentType)}</pre>
        </details>
      )}
      {problem && <Problem message={problem} />}
      <footer>
        {id === null ? <span className="soft small">An array adds several documents at once.</span> : !isReadOnly && (
          <Button icon="trash" look="quiet" onClick={() => onDelete(id)}>
            Delete
          </Button>
        )}
        <span className="grow" />
        <Button onClick={onClose}>{isReadOnly ? "Close" : "Cancel"}</Button>
        {!isReadOnly && (
          <Button look="primary" isBusy={isBusy} disabled={wrong !== null || (id !== null && draft === null)} onClick={save}>
            {id === null ? "Add" : "Save"} <kbd>Ctrl ↵</kbd>
          </Button>
        )}
      </footer>
    </>
  );
}
