// The part of a function library that these tests need: registers functions, and asks the host.

const CONVEX_ERROR = Symbol.for("ConvexError");

export class ConvexError extends Error {
  constructor(data, message) {
    super(message ?? (typeof data === "string" ? data : JSON.stringify(data)));
    this.name = "ConvexError";
    this.data = data;
    this[CONVEX_ERROR] = true;
  }
}

export async function ask(op, args = {}) {
  let text;
  try {
    text = await Convex.asyncSyscall(op, JSON.stringify(args));
  } catch (error) {
    throw error.data === undefined ? new Error(error.message) : new ConvexError(error.data, error.message);
  }
  return JSON.parse(text);
}

export const askNow = (op, args = {}) => JSON.parse(Convex.syscall(op, JSON.stringify(args)));

async function* documents(query) {
  const { queryId } = askNow("1.0/queryStream", { query });
  for (;;) {
    const { value, done } = await ask("1.0/queryStreamNext", { queryId });
    if (done) break;
    yield value;
  }
  askNow("1.0/queryCleanup", { queryId });
}

const ctx = {
  db: {
    get: (id) => ask("1.0/get", { id, isSystem: false }),
    insert: async (table, value) => (await ask("1.0/insert", { table, value }))._id,
    patch: (id, value) => ask("1.0/shallowMerge", { id, value }),
    replace: (id, value) => ask("1.0/replace", { id, value }),
    delete: (id) => ask("1.0/remove", { id }),
    async all(table, operators = []) {
      const found = [];
      const source = { type: "FullTableScan", tableName: table, order: null };
      for await (const document of documents({ source, operators })) found.push(document);
      return found;
    },
    page: (table, options) =>
      ask("1.0/queryPage", {
        query: { source: { type: "FullTableScan", tableName: table, order: null }, operators: [] },
        cursor: options.cursor ?? null,
        endCursor: null,
        pageSize: options.numItems,
        maximumRowsRead: null,
      }),
  },
  system: {
    get: (id) => ask("1.0/get", { id, isSystem: true }),
  },
  scheduler: {
    at: (ts, name, args = {}, more = { name }) => ask("1.0/schedule", { ...more, ts, args, version: "1.48.0" }),
    after: (ms, name, args) => ctx.scheduler.at((Date.now() + ms) / 1000, name, args),
    cancel: (id) => ask("1.0/cancel_job", { id }),
  },
  metrics: () => ask("1.0/getTransactionMetrics"),
  request: () => ask("1.0/getRequestMetadata"),
  runQuery: (name, args = {}, more = {}) => ask("1.0/runUdf", { udfType: "query", name, args, ...more }),
  runMutation: (name, args = {}, more = {}) => ask("1.0/runUdf", { udfType: "mutation", name, args, ...more }),
  runSnapshotQuery: (name, args = {}) => ask("1.0/runUdf", { udfType: "snapshotQuery", name, args }),
};

const actionCtx = {
  runQuery: (name, args = {}) => ask("1.0/actions/query", { name, args, requestId: "" }),
  runMutation: (name, args = {}) => ask("1.0/actions/mutation", { name, args, requestId: "" }),
  runAction: (name, args = {}) => ask("1.0/actions/action", { name, args, requestId: "" }),
  scheduler: {
    after: (ms, name, args = {}) =>
      ask("1.0/actions/schedule", { name, args, ts: (Date.now() + ms) / 1000, requestId: "" }),
    cancel: (id) => ask("1.0/actions/cancel_job", { id, requestId: "" }),
  },
  storage: {
    store: (blob, options) => Convex.jsSyscall("storage/storeBlob", { blob, options, requestId: "" }),
    get: (storageId) => Convex.jsSyscall("storage/getBlob", { storageId, requestId: "" }),
    getUrl: (storageId) => ask("1.0/storageGetUrl", { storageId, requestId: "" }),
    getMetadata: (storageId) => ask("1.0/storageGetMetadata", { storageId, requestId: "" }),
    generateUploadUrl: () => ask("1.0/storageGenerateUploadUrl", { requestId: "" }),
    delete: (storageId) => ask("1.0/storageDelete", { storageId, requestId: "" }),
  },
  request: () => ask("1.0/getRequestMetadata"),
};

function register(flag, invoker, visibility, definition) {
  const { args, returns, handler } = typeof definition === "function" ? { handler: definition } : definition;
  const registered = () => {
    throw new Error("functions are called by name");
  };
  registered[flag] = true;
  registered[visibility] = true;
  registered.exportArgs = () => JSON.stringify(args ?? { type: "any" });
  registered.exportReturns = () => JSON.stringify(returns ?? null);
  registered._handler = handler;
  // Actions are called with the id of a request in front.
  registered[invoker] = async (...texts) => {
    try {
      const result = await handler(flag === "isAction" ? actionCtx : ctx, ...JSON.parse(texts.at(-1)));
      return JSON.stringify(result === undefined ? null : result);
    } catch (error) {
      throw asThrown(error);
    }
  };
  return registered;
}

// An app's error with its data as the platform takes it.
function asThrown(error) {
  if (typeof error === "object" && error !== null && CONVEX_ERROR in error) {
    error.data = JSON.stringify(error.data ?? null);
    error.ConvexErrorSymbol = CONVEX_ERROR;
  }
  return error;
}

export const query = (definition) => register("isQuery", "invokeQuery", "isPublic", definition);
export const internalQuery = (definition) => register("isQuery", "invokeQuery", "isInternal", definition);
export const mutation = (definition) => register("isMutation", "invokeMutation", "isPublic", definition);
export const internalMutation = (definition) => register("isMutation", "invokeMutation", "isInternal", definition);
export const action = (definition) => register("isAction", "invokeAction", "isPublic", definition);
export const internalAction = (definition) => register("isAction", "invokeAction", "isInternal", definition);

export const httpAction = (handler) => ({
  isHttp: true,
  invokeHttpAction: async (request) => {
    try {
      return await handler(actionCtx, request);
    } catch (error) {
      throw asThrown(error);
    }
  },
});

// `routes` are HTTP actions by a method and a path, or a prefix that ends with `*`.
export function httpRouter(routes) {
  const all = Object.entries(routes).map(([route, handler]) => [...route.split(" ").reverse(), handler]);
  const fits = (route, path) => (route.endsWith("*") ? path.startsWith(route.slice(0, -1)) : path === route);
  const lookup = (path, method) => {
    const sought = method === "HEAD" ? "GET" : method;
    const found = all.find(([route, of]) => of === sought && fits(route, path));
    return found === undefined ? null : [found[2], sought, found[0]];
  };
  const runRequest = async (text) => {
    const request = Convex.jsSyscall("requestFromConvexJson", { convexJson: JSON.parse(text) });
    const { pathname } = new URL(request.url);
    const match = lookup(pathname, request.method);
    const response = match
      ? await match[0].invokeHttpAction(request)
      : new Response(`No HttpAction routed for ${pathname}`, { status: 404 });
    return JSON.stringify(Convex.jsSyscall("convexJsonFromResponse", { response }));
  };
  return { isRouter: true, getRoutes: () => all, lookup, runRequest };
}

const field = (fieldType, optional = false) => ({ fieldType, optional });
export const v = {
  string: { type: "string" },
  number: { type: "number" },
  null: { type: "null" },
  id: (tableName) => ({ type: "id", tableName }),
  object: (fields) => ({
    type: "object",
    value: Object.fromEntries(Object.entries(fields).map(([name, type]) => [name, field(type)])),
  }),
};
