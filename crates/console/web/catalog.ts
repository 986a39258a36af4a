// What the deployment consists of: its tables, its functions.
import { useMemo } from "react";
import { type Live, useComponent, useLive } from "./live";
import type { Validator } from "./validators";

/** The names of all tables. */
export function useTableNames(): Live<string[]> {
  const componentId = useComponent();
  const page = useLive<{ page: { name: string }[] }>("_system/cli/tables:default", {
    componentId,
    paginationOpts: { cursor: null, numItems: 10_000 },
  });
  return useMemo(() => (page.state === "ready" ? { state: "ready", value: page.value.page.map(({ name }) => name) } : page), [page]);
}

export interface ServerFunction {
  /** `messages:send`, or `GET /hello`. */
  name: string;
  module: string;
  /** Within its module. */
  export: string;
  kind: "Query" | "Mutation" | "Action" | "HttpAction";
  isPublic: boolean;
  args: Validator;
  returns: Validator;
}

interface Specified {
  functionType: ServerFunction["kind"];
  identifier?: string;
  args?: Validator;
  returns?: Validator;
  visibility?: { kind: string };
  method?: string;
  path?: string;
}

const ANY: Validator = { type: "any" };

/** All functions and routes, by module. */
export function useFunctions(): Live<ServerFunction[]> {
  const componentId = useComponent();
  const spec = useLive<Specified[]>("_system/cli/modules:apiSpec", { componentId });
  return useMemo(() => (spec.state === "ready" ? { state: "ready", value: spec.value.map(functionOf) } : spec), [spec]);
}

function functionOf({ functionType, identifier, args = ANY, returns = ANY, visibility, method, path }: Specified): ServerFunction {
  if (identifier === undefined) {
    return { name: `${method} ${path}`, module: "http", export: `${method} ${path}`, kind: functionType, isPublic: true, args, returns };
  }
  const [file = "", name = ""] = identifier.split(":");
  const module = file.replace(/\.js$/, "");
  return { name: `${module}:${name}`, module, export: name, kind: functionType, isPublic: visibility?.kind !== "internal", args, returns };
}

export interface TableSchema {
  tableName: string;
  documentType: Validator | null;
  indexes: { indexDescriptor: string; fields: string[] }[];
}

/** What the active schema says of a table; null if it says nothing. */
export function useTableSchema(table: string | null): TableSchema | null {
  const componentId = useComponent();
  const schemas = useLive<{ active?: string }>("_system/frontend/getSchemas:default", table === null ? "skip" : { componentId });
  const active = schemas.state === "ready" ? schemas.value.active : undefined;
  return useMemo(() => {
    const tables: TableSchema[] = active ? JSON.parse(active).tables : [];
    return tables.find(({ tableName }) => tableName === table) ?? null;
  }, [active, table]);
}
