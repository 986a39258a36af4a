// The app's modules, in a folder of their own. Each is evaluated once per process.
import path from "node:path";
import { pathToFileURL } from "node:url";

let folder;

export function setFolder(value) {
  folder = value;
}

export function importModule(module) {
  return import(pathToFileURL(path.join(folder, module)).href);
}

// As people know a file: a module by its path in the bundle, what a source map names by that relative to the bundle.
export function forPeople(file) {
  return path.relative(folder, file);
}

// A text without where the server keeps modules.
export function withoutFolder(text) {
  return text.replaceAll(`file://${folder}/`, "").replaceAll(`${folder}/`, "");
}
