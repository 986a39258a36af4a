// performance: a clock, and marks and measures by it.
import { now } from "tidemark:host";
import { structuredClone } from "tidemark:clone";
import { EventTarget } from "tidemark:events";
import { phase } from "tidemark:phase";
import { dictionary, domString, isObject, needArguments } from "tidemark:webidl";

let isConstructible = false;

export class PerformanceEntry {
  #members;

  constructor(members) {
    if (!isConstructible) {
      throw new TypeError("Illegal constructor");
    }
    this.#members = members;
  }

  get name() {
    return this.#members.name;
  }

  get entryType() {
    return this.#members.entryType;
  }

  get startTime() {
    return this.#members.startTime;
  }

  get duration() {
    return this.#members.duration;
  }

  toJSON() {
    return { ...this.#members };
  }
}

const detailOf = (init) => (init.detail === undefined || init.detail === null ? null : structuredClone(init.detail));

function construct(Class, members) {
  isConstructible = true;
  try {
    return new Class(members);
  } finally {
    isConstructible = false;
  }
}

export class PerformanceMark extends PerformanceEntry {
  #detail;

  constructor(name, options = undefined) {
    needArguments(arguments.length, 1, "PerformanceMark");
    const init = dictionary(options, "The options of a mark");
    const startTime = init.startTime === undefined ? performance.now() : Number(init.startTime);
    if (startTime < 0 || Number.isNaN(startTime)) {
      throw new TypeError("The time of a mark must not be negative");
    }
    const detail = detailOf(init);
    const text = domString(name);
    isConstructible = true;
    super({ name: text, entryType: "mark", startTime, duration: 0 });
    isConstructible = false;
    this.#detail = detail;
  }

  get detail() {
    return this.#detail;
  }

  toJSON() {
    return { ...super.toJSON(), detail: this.#detail };
  }
}

export class PerformanceMeasure extends PerformanceEntry {
  #detail;

  constructor({ detail, ...members }) {
    super(members);
    this.#detail = detail;
  }

  get detail() {
    return this.#detail;
  }

  toJSON() {
    return { ...super.toJSON(), detail: this.#detail };
  }
}

export class Performance extends EventTarget {
  #entries = [];
  // The moment that an action's clock counts from.
  #origin = null;

  constructor() {
    if (!isConstructible) {
      throw new TypeError("Illegal constructor");
    }
    super();
  }

  // Time passes only in actions.
  now() {
    if (phase() !== "action") {
      return 0;
    }
    const start = this.#startOfAction();
    return now() - start;
  }

  get timeOrigin() {
    return phase() === "action" ? this.#startOfAction() : now();
  }

  #startOfAction() {
    this.#origin ??= now();
    return this.#origin;
  }

  mark(name, options = undefined) {
    needArguments(arguments.length, 1, "Performance.mark");
    return this.#add(new PerformanceMark(name, options));
  }

  measure(name, startOrOptions = undefined, endMark = undefined) {
    needArguments(arguments.length, 1, "Performance.measure");
    const init = isObject(startOrOptions) ? startOrOptions : { start: startOrOptions };
    const { start, duration, end = endMark } = init;
    const hasBounds = start !== undefined || end !== undefined || duration !== undefined;
    if (isObject(startOrOptions) && (endMark !== undefined || (hasBounds && start === undefined && end === undefined))) {
      throw new TypeError("A measure with options needs a start or an end there, and nowhere else");
    }
    if (start !== undefined && duration !== undefined && end !== undefined) {
      throw new TypeError("A measure has a start, a duration and an end, of which two are given at most");
    }
    const length = Number(duration);
    const endTime =
      end !== undefined
        ? this.#timeOf(end)
        : start !== undefined && duration !== undefined
          ? this.#timeOf(start) + length
          : this.now();
    const startTime = start !== undefined ? this.#timeOf(start) : duration !== undefined ? endTime - length : 0;
    const members = { name: domString(name), entryType: "measure", startTime, duration: endTime - startTime };
    return this.#add(construct(PerformanceMeasure, { ...members, detail: detailOf(init) }));
  }

  clearMarks(name = undefined) {
    this.#clear("mark", name);
  }

  clearMeasures(name = undefined) {
    this.#clear("measure", name);
  }

  getEntries() {
    return this.#entries.toSorted((a, b) => a.startTime - b.startTime);
  }

  getEntriesByName(name, type = undefined) {
    needArguments(arguments.length, 1, "Performance.getEntriesByName");
    const text = domString(name);
    return this.getEntries().filter((entry) => entry.name === text && (type === undefined || entry.entryType === type));
  }

  getEntriesByType(type) {
    needArguments(arguments.length, 1, "Performance.getEntriesByType");
    return this.getEntries().filter((entry) => entry.entryType === domString(type));
  }

  toJSON() {
    return { timeOrigin: this.timeOrigin };
  }

  #add(entry) {
    this.#entries.push(entry);
    return entry;
  }

  #clear(type, name) {
    this.#entries = this.#entries.filter(
      (entry) => entry.entryType !== type || (name !== undefined && entry.name !== domString(name)),
    );
  }

  // Of a mark by its name, or of a moment.
  #timeOf(moment) {
    if (typeof moment === "number") {
      return moment;
    }
    const name = domString(moment);
    const mark = this.#entries.findLast((entry) => entry.entryType === "mark" && entry.name === name);
    if (mark === undefined) {
      throw new DOMException(`The "${name}" performance mark has not been set`, "SyntaxError");
    }
    return mark.startTime;
  }
}

export const performance = construct(Performance);
