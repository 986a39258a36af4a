// Tables and their documents.
import { useEffect, useMemo, useState, type FormEvent } from "react";
import { usePaginatedQuery } from "convex/react";
import { makeFunctionReference, type PaginationOptions, type PaginationResult } from "convex/server";
import { convexToJson, type Value } from "convex/values";
import { useTableNames, useTableSchema, type TableSchema } from "../catalog";
import { DocumentDrawer } from "../data/DocumentDrawer";
import { FilterBar, type Filters, NO_FILTERS } from "../data/FilterBar";
import { Grid, type Row } from "../data/Grid";
import { Icon } from "../icons";
import { type Live, messageOf, useChange, useComponent, useLive, useLives } from "../live";
import { hrefOf, navigate, useRoute } from "../route";
import { Button, Dialog, Empty, Loading, Page, Problem, SearchField, Fence, countOf, useMatcher, useQuestion, useToast } from "../ui";

/** Documents that are counted for the list of tables; of larger ones it says that they are larger. */
const COUNTED = 1_000;
const PAGE_ITEMS = 50;

interface Size {
  count: number;
  isExact: boolean;
}

const sizeText = ({ count, isExact }: Size) => `${countOf(count)}${isExact ? "" : "+"}`;

export function Data() {
  const [table = null] = useRoute().rest;
  const tables = useTableNames();
  const component = useComponent();
  const names = tables.state === "ready" ? tables.value : [];
  const shown = table ?? names[0] ?? null;
  const isKnown = shown !== null && (names.includes(shown) || shown.startsWith("_"));
  return (
    <div className="split">
      <TableList names={names} shown={shown} state={tables.state} />
      <div className="split-main">
        {tables.state === "error" && <Problem message={tables.message} />}
        {tables.state === "loading" && <Loading />}
        {tables.state === "ready" && shown === null && (
          <Empty icon="data" title="There are no tables yet">
            A table comes with the first document that is inserted into it, or with a schema that is pushed.
          </Empty>
        )}
        {tables.state === "ready" && shown !== null && !isKnown && (
          <Empty icon="data" title={`There is no table ${shown}`}>
            <a href={hrefOf("data", [], { component })}>The tables that there are</a>
          </Empty>
        )}
        {tables.state === "ready" && shown !== null && isKnown && <TableView key={`${component} ${shown}`} table={shown} />}
      </div>
    </div>
  );
}

function TableList({ names, shown, state }: { names: string[]; shown: string | null; state: Live<unknown>["state"] }) {
  const component = useComponent();
  const [text, setText] = useState("");
  const [isCreating, setCreating] = useState(false);
  const matches = useMatcher(text);
  const found = names.filter(matches);
  const sizes = useLives<Size>(
    Object.fromEntries(names.map((name) => [name, { name: "_system/frontend/tableSize:upTo", args: { componentId: component, tableName: name, most: COUNTED } }])),
  );
  return (
    <aside className="split-list" aria-label="Tables">
      <div className="split-head">
        <SearchField label="Find a table" value={text} onChange={setText} />
        <Button icon="plus" look="quiet" aria-label="Create a table" title="Create a table" onClick={() => setCreating(true)} />
      </div>
      {state === "loading" && <Loading rows={4} />}
      <ul>
        {found.map((name) => {
          const size = sizes[name];
          return (
            <li key={name}>
              <a href={hrefOf("data", [name], { component })} aria-current={name === shown ? "true" : undefined}>
                <span className="name">{name}</span>
                <span className="count">{size?.state === "ready" ? sizeText(size.value) : "–"}</span>
              </a>
            </li>
          );
        })}
      </ul>
      {state === "ready" && found.length === 0 && <p className="soft none">{names.length === 0 ? "No tables" : "No table is called so."}</p>}
      {isCreating && <CreateTable names={names} onClose={() => setCreating(false)} />}
    </aside>
  );
}

function CreateTable({ names, onClose }: { names: string[]; onClose: () => void }) {
  const change = useChange();
  const component = useComponent();
  const [name, setName] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const create = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await change("_system/frontend/createTable:default", { table: name });
      onClose();
      navigate(hrefOf("data", [name], { component }));
    } catch (error) {
      setProblem(messageOf(error));
    }
  };
  return (
    <Dialog title="Create a table" onClose={onClose}>
      <form onSubmit={create}>
        <label>
          <span className="label">Name</span>
          <input value={name} onChange={(event) => setName(event.target.value)} autoFocus spellCheck={false} />
        </label>
        {problem && <Problem message={problem} />}
        <footer>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" look="primary" disabled={name === "" || names.includes(name)}>
            Create
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}

interface IndexRow {
  name: string;
  fields: string[];
  state: string;
  staged: boolean;
}

const DOCUMENTS = makeFunctionReference<
  "query",
  { paginationOpts: PaginationOptions; table: string; filters: string | null; componentId: string | null },
  PaginationResult<Row>
>("_system/frontend/paginatedTableDocuments:default");

/** As the server reads them: JSON in base 64. */
function encoded({ clauses, index, order }: Filters): string | null {
  if (clauses.length === 0 && index === null && order === "desc") {
    return null;
  }
  const json = JSON.stringify({
    clauses: clauses.map(({ field, op, value }) => (value === undefined ? { field, op } : { field, op, value: convexToJson(value) })),
    index,
    order,
  });
  return btoa(String.fromCharCode(...new TextEncoder().encode(json)));
}

function TableView({ table }: { table: string }) {
  const component = useComponent();
  const isSystem = table.startsWith("_");
  const schema = useTableSchema(table);
  const [filters, setFilters] = useState<Filters>(NO_FILTERS);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [opened, setOpened] = useState<{ id: string } | "new" | null>(null);
  const indexes = useLive<IndexRow[]>("_system/frontend/indexes:default", { componentId: component, tableName: table });
  const size = useLive<Size>("_system/frontend/tableSize:upTo", { componentId: component, tableName: table, most: COUNTED });
  const { ask, question } = useQuestion();
  const change = useChange();
  const toast = useToast();
  const ordering = schema?.indexes.map(({ indexDescriptor }) => indexDescriptor) ?? [];
  const isOrder = ({ name, state, staged }: IndexRow) => state === "enabled" && !staged && ordering.includes(name);

  const remove = (ids: string[]) =>
    ask({
      title: ids.length === 1 ? "Delete the document?" : `Delete ${countOf(ids.length)} documents?`,
      text: (
        <p>
          This takes {ids.length === 1 ? <code>{ids[0]}</code> : "them"} out of <code>{table}</code>, at once and for everybody. It can't be undone.
        </p>
      ),
      button: "Delete",
      act: async () => {
        await change("_system/frontend/deleteDocuments:default", { toDelete: ids.map((id) => ({ id, tableName: table })) });
        setSelected(new Set());
        setOpened(null);
        toast(ids.length === 1 ? "Deleted the document" : `Deleted ${countOf(ids.length)} documents`);
      },
    });
  const clear = () =>
    ask({
      title: `Delete all documents of ${table}?`,
      text: <p>The table stays, with its schema and its indexes. This can't be undone.</p>,
      button: "Delete all",
      act: async () => {
        let deleted = 0;
        for (let hasMore = true; hasMore; ) {
          const page = await change<{ deleted: number; hasMore: boolean }>("_system/frontend/clearTablePage:default", { tableName: table });
          deleted += page.deleted;
          hasMore = page.hasMore;
        }
        setSelected(new Set());
        toast(`Deleted ${countOf(deleted)} documents`);
      },
    });

  return (
    <Page
      title={table}
      isWide
      hint={size.state === "ready" ? `${sizeText(size.value)} ${size.value.count === 1 && size.value.isExact ? "document" : "documents"}${schema?.documentType ? " · schema enforced" : ""}` : " "}
      actions={
        !isSystem && (
          <>
            {selected.size > 0 && (
              <Button icon="trash" look="danger" onClick={() => remove([...selected])}>
                Delete {countOf(selected.size)}
              </Button>
            )}
            <Button look="quiet" onClick={clear} disabled={size.state !== "ready" || size.value.count === 0}>
              Delete all
            </Button>
            <Button icon="plus" look="primary" onClick={() => setOpened("new")}>
              Add document
            </Button>
          </>
        )
      }
    >
      <FilterBar
        filters={filters}
        onChange={(filters) => {
          setFilters(filters);
          setSelected(new Set());
        }}
        schema={schema}
        indexes={indexes.state === "ready" ? indexes.value.filter(isOrder) : []}
      />
      <Fence name={encoded(filters) ?? ""}>
        <Documents
          table={table}
          filters={filters}
          schema={schema}
          isReadOnly={isSystem}
          selected={selected}
          onSelect={setSelected}
          onOpen={(row) => setOpened({ id: row._id })}
          onDelete={remove}
          onAdd={() => setOpened("new")}
          onUnfilter={() => setFilters(NO_FILTERS)}
        />
      </Fence>
      {opened !== null && (
        <DocumentDrawer
          table={table}
          id={opened === "new" ? null : opened.id}
          schema={schema}
          isReadOnly={isSystem}
          onClose={() => setOpened(null)}
          onDelete={(id) => remove([id])}
        />
      )}
      {question}
    </Page>
  );
}

function Documents({
  table,
  filters,
  schema,
  isReadOnly,
  selected,
  onSelect,
  onOpen,
  onDelete,
  onAdd,
  onUnfilter,
}: {
  table: string;
  filters: Filters;
  schema: TableSchema | null;
  isReadOnly: boolean;
  selected: ReadonlySet<string>;
  onSelect: (ids: ReadonlySet<string>) => void;
  onOpen: (row: Row) => void;
  onDelete: (ids: string[]) => void;
  onAdd: () => void;
  onUnfilter: () => void;
}) {
  const component = useComponent();
  const change = useChange();
  const { results, status, loadMore } = usePaginatedQuery(DOCUMENTS, { table, filters: encoded(filters), componentId: component }, { initialNumItems: PAGE_ITEMS });
  const columns = useMemo(() => columnsOf(results, schema), [results, schema]);
  // What is gone is not selected any more.
  useEffect(() => {
    const present = new Set(results.map(({ _id }) => _id));
    if ([...selected].some((id) => !present.has(id))) {
      onSelect(new Set([...selected].filter((id) => present.has(id))));
    }
  }, [results]);

  if (status === "LoadingFirstPage") {
    return <Loading rows={8} />;
  }
  if (results.length === 0 && status === "Exhausted") {
    return filters.clauses.length > 0 ? (
      <Empty icon="filter" title="No document fits the filters">
        <Button onClick={onUnfilter}>Clear the filters</Button>
      </Empty>
    ) : (
      <Empty icon="data" title="The table is empty">
        {!isReadOnly && (
          <Button icon="plus" onClick={onAdd}>
            Add the first document
          </Button>
        )}
      </Empty>
    );
  }
  const set = async (row: Row, field: string, value: Value | undefined) => {
    const fields = value === undefined ? {} : { [field]: value };
    await change("_system/frontend/patchDocumentsFields:default", { table, ids: [row._id], fields, removed: value === undefined ? [field] : [] });
  };
  return (
    <>
      <Grid
        rows={results}
        columns={columns}
        isReadOnly={isReadOnly}
        selected={selected}
        onSelect={onSelect}
        onOpen={onOpen}
        onDelete={onDelete}
        onSet={set}
        onEnd={() => status === "CanLoadMore" && loadMore(PAGE_ITEMS)}
      />
      <p className="grid-foot soft">
        {countOf(results.length)} {results.length === 1 ? "document" : "documents"} shown
        {status === "CanLoadMore" && (
          <Button look="quiet" onClick={() => loadMore(PAGE_ITEMS)}>
            Load more
          </Button>
        )}
        {status === "LoadingMore" && (
          <>
            <span className="spinner" /> loading
          </>
        )}
        {status === "Exhausted" && (
          <span className="end">
            <Icon name="check" size={13} /> all of them
          </span>
        )}
      </p>
    </>
  );
}

/** The id, the fields of the schema, then others that documents have, and the time of creation. */
function columnsOf(rows: Row[], schema: TableSchema | null): string[] {
  const declared = schema?.documentType?.type === "object" ? Object.keys(schema.documentType.value) : [];
  const present = new Set(rows.flatMap((row) => Object.keys(row)));
  const others = [...present].filter((field) => !field.startsWith("_") && !declared.includes(field)).sort();
  return ["_id", ...declared, ...others, "_creationTime"];
}
