// Evaluates `cases`, functions that each give one value, and shows each value or error as a text.
const plain = (key, value) =>
  typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : value === undefined ? "undefined"
    : typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
const show = (value) =>
  value === undefined || typeof value === "string" || typeof value === "symbol" ? String(value) : JSON.stringify(value, plain);
const all = async () => {
  const texts = [];
  for (const evaluate of cases) {
    try {
      texts.push(show(await evaluate()));
    } catch (error) {
      texts.push(error instanceof Error ? String(error) : `thrown: ${show(error)}`);
    }
  }
  return texts;
};
