// FormData
import { File, isBlob } from "tidemark:blob";
import { makeIterable, needArguments, usvString } from "tidemark:webidl";

// The pairs of a form, as of now.
export let formEntries;

export class FormData {
  #entries = [];

  static {
    formEntries = (form) => form.#entries;
  }

  constructor(form = undefined) {
    if (form !== undefined) {
      throw new TypeError("There are no forms here: FormData is made without arguments");
    }
  }

  append(name, value, filename = undefined) {
    needArguments(arguments.length, 2, "FormData.append");
    this.#entries.push(entry(name, value, filename, arguments.length));
  }

  delete(name) {
    needArguments(arguments.length, 1, "FormData.delete");
    const key = usvString(name);
    this.#entries = this.#entries.filter(([known]) => known !== key);
  }

  get(name) {
    needArguments(arguments.length, 1, "FormData.get");
    const key = usvString(name);
    return this.#entries.find(([known]) => known === key)?.[1] ?? null;
  }

  getAll(name) {
    needArguments(arguments.length, 1, "FormData.getAll");
    const key = usvString(name);
    return this.#entries.filter(([known]) => known === key).map(([, value]) => value);
  }

  has(name) {
    needArguments(arguments.length, 1, "FormData.has");
    const key = usvString(name);
    return this.#entries.some(([known]) => known === key);
  }

  set(name, value, filename = undefined) {
    needArguments(arguments.length, 2, "FormData.set");
    const replacement = entry(name, value, filename, arguments.length);
    const index = this.#entries.findIndex(([known]) => known === replacement[0]);
    if (index < 0) {
      this.#entries.push(replacement);
      return;
    }
    this.#entries[index] = replacement;
    this.#entries = this.#entries.filter((known, at) => at <= index || known[0] !== replacement[0]);
  }
}

makeIterable(FormData, (form, index) => formEntries(form)[index]);

function entry(name, value, filename, count) {
  const key = usvString(name);
  if (!isBlob(value)) {
    if (count > 2) {
      throw new TypeError("Only a Blob can have a file name");
    }
    return [key, usvString(value)];
  }
  if (filename === undefined && value instanceof File) {
    return [key, value];
  }
  const options = value instanceof File ? { type: value.type, lastModified: value.lastModified } : { type: value.type };
  return [key, new File([value], filename === undefined ? "blob" : usvString(filename), options)];
}
