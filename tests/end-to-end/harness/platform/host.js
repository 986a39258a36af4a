// What the isolate's engine and host give the platform (guest/guest.c, src/outside.rs), for a context of Node.js.
// `native` takes and gives texts, numbers and buffers of Node's own realm.
(native) => {
  class DOMException extends Error {
    #name;

    constructor(message = "", name = "Error") {
      super(message);
      this.#name = name;
    }

    get name() {
      return this.#name;
    }

    get code() {
      return this.#name === "" ? 0 : codes.indexOf(this.#name) + 1;
    }
  }
  // By their codes; where there is no name, the code is not used any more.
  const codes = `IndexSize,,HierarchyRequest,WrongDocument,InvalidCharacter,,NoModificationAllowed,NotFound,NotSupported,
    InUseAttribute,InvalidState,Syntax,InvalidModification,Namespace,InvalidAccess,,TypeMismatch,Security,Network,Abort,
    URLMismatch,QuotaExceeded,Timeout,InvalidNodeType,DataClone`
    .split(",")
    .map((name) => name.trim() && `${name.trim()}Error`);
  for (const [index, name] of codes.entries()) {
    if (name === "") {
      continue;
    }
    const constant = name.replace(/Error$/, "").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() + "_ERR";
    Object.defineProperty(DOMException, constant, { value: index + 1, enumerable: true });
    Object.defineProperty(DOMException.prototype, constant, { value: index + 1, enumerable: true });
  }
  Object.defineProperty(DOMException.prototype, Symbol.toStringTag, { value: "DOMException", configurable: true });

  const define = (owner, members) => {
    for (const [name, value] of Object.entries(members)) {
      Object.defineProperty(owner, name, { value, configurable: true, writable: true });
    }
  };
  const mustBeLatin1 = (answer) => {
    if (answer === undefined) {
      throw new DOMException("The string contains invalid characters.", "InvalidCharacterError");
    }
    return answer;
  };
  define(globalThis, {
    DOMException,
    atob: (data) => mustBeLatin1(native.atob(`${data}`)),
    btoa: (data) => mustBeLatin1(native.btoa(`${data}`)),
    queueMicrotask: (callback) => void Promise.resolve().then(callback),
  });
  // Of ECMAScript, and newer than this Node.js.
  define(Uint8Array.prototype, {
    toHex() { return native.hex(this); },
    toBase64() { return native.base64(this); },
  });
  define(Uint8Array, {
    fromHex: (text) => new Uint8Array(native.fromHex(text)),
    fromBase64: (text) => new Uint8Array(native.fromBase64(text)),
  });

  const requests = {
    // A timer that is woken early ends nothing here.
    0: () => "null",
    2: (input, base) => native.parseUrl(input, base),
    3: (href, part) => native.setUrlPart(href, part),
    4: (operation, data) => native.digest(operation, data),
  };
  let context;
  return {
    context: () => context,
    setContext: (value) => {
      context = value;
    },
    frames: () => undefined,
    convertDocuments: (convert, documents) => documents.map(convert),
    // Then the platform does it.
    xorWords: () => false,
    request(kind, a, b) {
      const answer = requests[kind]?.(a, b);
      if (answer === undefined) {
        throw new TypeError(`The host can't answer ${a}`);
      }
      return answer;
    },
    operation: (name, text) =>
      name === "tidemark/sleep"
        ? new Promise((done) => native.startTimer(() => done("null"), JSON.parse(text).delayMs))
        : Promise.reject(new Error(`The host can't answer ${name}`)),
    hasOutstanding: () => false,
    outcome() {},
    now: () => native.now(),
    random: () => native.random(),
    randomBytes: (length) => new Uint8Array(native.randomBytes(length)).buffer,
    encodeUtf8: (text) => new Uint8Array(native.encode(text)),
    decodeUtf8: (buffer, offset, length, fatal) => native.decode(buffer, offset, length, fatal),
  };
};
