// A reporter for Node's test runner: names the tests that failed once more, where a long output ends.
const LINES_MAX = 4;
const COLUMNS_MAX = 200;

export default async function* failures(events) {
  const failed = [];
  for await (const { type, data } of events) {
    // A file or a group fails with a test in it, which says why.
    if (type === "test:fail" && data.details.error?.failureType !== "subtestsFailed") {
      failed.push(data);
    }
  }
  if (failed.length > 0) {
    yield `${failed.length} failed:\n`;
  }
  for (const { name, file, line, details } of failed) {
    const { error } = details;
    const text = String(error?.cause?.message ?? error?.message ?? error);
    const lines = text.split("\n").filter((part) => part.trim() !== "");
    yield `  ${file?.split("/").at(-1) ?? "?"}:${line ?? "?"}  ${name}\n`;
    yield lines.slice(0, LINES_MAX).map((part) => `    ${part.slice(0, COLUMNS_MAX)}\n`).join("");
  }
}
