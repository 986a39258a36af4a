// What the deployment consists of: its tables, its functions.
import { useMemo } from "react";
import { jsonToConvex } from "convex/values";
import { type Live, useComponent, useLive } from "./live";
import { hrefOf } from "./route";
import { ANY, type Validator } from "./validators";

export interface ComponentRow {
  id: string;
  path: string;
  state: string;
}

/** All components but the app itself, those included that are not mounted any more. */
export function useComponents(): ComponentRow[] {
  const components = useLive<ComponentRow[]>("_system/frontend/components:list", {});
  return useMemo(() => (components.state === "ready" ? components.value.filter(({ path }) => path !== "") : []), [components]);
}

/** Where a function is shown; calls and logs name components by their paths. */
export function useFunctionHref(): (name: string, componentPath: string | null) => string {
  const components = useComponents();
  return (name, componentPath) => hrefOf("functions", [name], { component: components.find(({ path }) => path === componentPath)?.id ?? null });
}

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

/** Below which path of the site the component's routes answer, with a slash at its end; null where they answer nowhere. */
export function useHttpPrefix(): Live<string | null> {
  return useLive("_system/frontend/httpPrefix:default", { componentId: useComponent() });
}

export interface TableSchema {
  tableName: string;
  documentType: Validator | null;
  /** Those that documents can be read by in an order: neither of search nor of vectors, nor staged. */
  indexes: { indexDescriptor: string; fields: string[] }[];
}

/** What the active schema says of a table; null if it says nothing. */
export function useTableSchema(table: string | null): TableSchema | null {
  const componentId = useComponent();
  const schemas = useLive<{ active?: string }>("_system/frontend/getSchemas:default", table === null ? "skip" : { componentId });
  const active = schemas.state === "ready" ? schemas.value.active : undefined;
  return useMemo(() => {
    if (active === undefined) {
      return null;
    }
    // As a value, for the literals in it.
    const { tables } = jsonToConvex(JSON.parse(active)) as unknown as { tables: TableSchema[] };
    return tables.find(({ tableName }) => tableName === table) ?? null;
  }, [active, table]);
}
