// What the function library makes of an action.
export function action(handler, { isInternal = false } = {}) {
  const registered = () => {
    throw new Error("call it by invokeAction");
  };
  registered.isAction = true;
  registered[isInternal ? "isInternal" : "isPublic"] = true;
  registered._handler = handler;
  registered.exportArgs = () => '{"type":"object","value":{}}';
  registered.exportReturns = () => "null";
  registered.invokeAction = async (requestId, text) => {
    try {
      return JSON.stringify((await handler(context(requestId), ...JSON.parse(text))) ?? null);
    } catch (error) {
      if (typeof error === "object" && error !== null && Symbol.for("ConvexError") in error) {
        error.data = JSON.stringify(error.data);
        error.ConvexErrorSymbol = Symbol.for("ConvexError");
      }
      throw error;
    }
  };
  return registered;
}

const context = (requestId) => ({
  requestId,
  ask: async (operation, values) => JSON.parse(await Convex.asyncSyscall(operation, JSON.stringify(values ?? {}))),
  store: (blob, options) => Convex.jsSyscall("storage/storeBlob", { requestId, version: "1.0.0", blob, options }),
  get: (storageId) => Convex.jsSyscall("storage/getBlob", { requestId, version: "1.0.0", storageId }),
});

export class ConvexError extends Error {
  name = "ConvexError";
  [Symbol.for("ConvexError")] = true;
  constructor(data) {
    super(JSON.stringify(data));
    this.data = data;
  }
}
