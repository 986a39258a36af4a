// MessageChannel and its ports, within one isolate. Packages make channels while they are imported, to have something
// called later.
import { queueMicrotask } from "tidemark:async-context";
import { refuseToClone, structuredClone } from "tidemark:clone";
import { Event, EventTarget, defineHandler, trust } from "tidemark:events";
import { dictionary, domString, needArguments } from "tidemark:webidl";

export class MessageEvent extends Event {
  #members;

  constructor(type, init = undefined) {
    super(...arguments);
    const { data = null, origin = "", lastEventId = "", source = null, ports = [] } = init ?? {};
    this.#members = {
      data,
      origin: domString(origin),
      lastEventId: domString(lastEventId),
      source,
      ports: Object.freeze([...ports]),
    };
  }

  get data() {
    return this.#members.data;
  }

  get origin() {
    return this.#members.origin;
  }

  get lastEventId() {
    return this.#members.lastEventId;
  }

  get source() {
    return this.#members.source;
  }

  get ports() {
    return this.#members.ports;
  }
}

let connect;
let isConstructible = false;

export class MessagePort extends EventTarget {
  #peer = null;
  #isStarted = false;
  // What arrived before the port was started.
  #waiting = [];

  static {
    connect = (a, b) => {
      a.#peer = b;
      b.#peer = a;
    };
  }

  constructor() {
    if (!isConstructible) {
      throw new TypeError("Illegal constructor");
    }
    super();
  }

  postMessage(value, options = undefined) {
    needArguments(arguments.length, 1, "MessagePort.postMessage");
    const isSequence = typeof options === "object" && options !== null && options[Symbol.iterator] !== undefined;
    const transfer = isSequence ? [...options] : (dictionary(options, "The options of postMessage()").transfer ?? []);
    const data = structuredClone(value, { transfer });
    const peer = this.#peer;
    if (peer?.#isStarted) {
      peer.#deliver(data);
    } else {
      peer?.#waiting.push(data);
    }
  }

  start() {
    if (!this.#isStarted) {
      this.#isStarted = true;
      this.#waiting.splice(0).forEach((data) => this.#deliver(data));
    }
  }

  close() {
    const peer = this.#peer;
    this.#peer = null;
    if (peer !== null) {
      peer.#peer = null;
    }
  }

  #deliver(data) {
    queueMicrotask(() => this.dispatchEvent(trust(new MessageEvent("message", { data }))));
  }
}

defineHandler(MessagePort, "message", (port) => port.start());
defineHandler(MessagePort, "messageerror");

export class MessageChannel {
  #ports;

  constructor() {
    isConstructible = true;
    try {
      this.#ports = [new MessagePort(), new MessagePort()];
    } finally {
      isConstructible = false;
    }
    connect(...this.#ports);
  }

  get port1() {
    return this.#ports[0];
  }

  get port2() {
    return this.#ports[1];
  }
}

refuseToClone(MessagePort);
