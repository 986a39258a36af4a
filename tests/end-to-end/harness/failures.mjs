// A reporter for Node's test runner: names the tests that failed once more, where a long output ends, in few lines.
const LINES_MAX = 20;
const LINES_OF_ERROR_MAX = 4;
const COLUMNS_MAX = 200;

export default async function* failures(events) {
  const failed = [];
  for await (const { type, data } of events) {
    // A file or a group fails with a test in it, which says why.
    if (type === "test:fail" && data.details.error?.failureType !== "subtestsFailed") {
      failed.push(data);
    }
  }
  if (failed.length === 0) {
    return;
  }
  const shown = failed.slice(0, LINES_MAX);
  const linesOfError = Math.min(LINES_OF_ERROR_MAX, Math.floor(LINES_MAX / shown.length) - 1);
  yield `${failed.length} failed${shown.length < failed.length ? `, first ${shown.length}` : ""}:\n`;
  for (const { name, file, line, details } of shown) {
    const { error } = details;
    const text = String(error?.cause?.message ?? error?.message ?? error);
    const reasons = text.split("\n").filter((part) => part.trim() !== "");
    const lines = [`  ${file?.split("/").at(-1) ?? "?"}:${line ?? "?"}  ${name}`, ...reasons.slice(0, linesOfError).map((part) => `    ${part}`)];
    yield lines.map((part) => `${part.slice(0, COLUMNS_MAX)}\n`).join("");
  }
}
