// Runs in a page: draws a dashboard as Grafana would, as far as ours use it, by uPlot, which Grafana draws its graphs with.
"use strict";

const LINES = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#56a64b", "#e0b400", "#96d98d", "#ca95e5", "#ffb357"];
const NAMED = { green: "#73bf69", orange: "#ff9830", red: "#f2495c" };
const HEAD = 26;
const COLUMNS = 24;
const ROW = 38;
const GAP = 8;
const LEGEND = 40;
/** Steps of an axis of bytes; uPlot's own are powers of ten. */
const BYTES = Array.from({ length: 40 }, (_, power) => 2 ** power);

/** A number in a unit of Grafana's. */
function inUnit(value, unit) {
  const scaled = (steps) => {
    const size = Math.abs(value);
    const [factor, suffix] = steps.find(([factor]) => size >= factor) ?? steps.at(-1);
    return `${Number((value / factor).toPrecision(3))}${suffix}`;
  };
  if (!Number.isFinite(value)) {
    return `${value}`;
  }
  const count = () => scaled([[1e9, " Bil"], [1e6, " Mil"], [1e3, " K"], [1, ""]]);
  const bytes = (step, suffixes) => scaled(suffixes.map((suffix, power) => [step ** power, suffix]).reverse());
  switch (unit) {
    case "s":
      return value === 0 ? "0 s" : scaled([[604_800, " week"], [86_400, " day"], [3_600, " hour"], [60, " min"], [1, " s"], [1e-3, " ms"], [1e-6, " µs"]]);
    case "bytes":
      return bytes(1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
    case "Bps":
      return bytes(1000, [" B/s", " kB/s", " MB/s", " GB/s"]);
    case "percentunit":
      return `${Number((value * 100).toPrecision(3))}%`;
    case "ops":
      return `${count()} ops/s`;
    case "reqps":
      return `${count()} req/s`;
    case "short":
    case undefined:
      return count();
    default:
      throw new Error(`a unit that nothing here draws: ${unit}`);
  }
}

const named = (legend, labels) =>
  legend ? legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? "") : Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(", ");

function element(parent, tag, { className = "", text = "", style = {} } = {}) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  Object.assign(made.style, style);
  parent.append(made);
  return made;
}

/** The color of the last threshold that the value has reached. */
function colorOf(value, { thresholds }) {
  const reached = (thresholds?.steps ?? []).filter((step) => step.value === null || value >= step.value);
  return NAMED[reached.at(-1)?.color ?? "green"];
}

/** The series of all queries, each at all moments: null where there is no number. */
function alignedSeries(panel, answers, { start, end, step }) {
  const times = [];
  for (let time = start; time <= end; time += step) {
    times.push(time);
  }
  const series = answers.flatMap((answer, query) =>
    answer.map(({ labels, points }) => {
      const at = new Map(points.map(([time, value]) => [Math.round(time), Number(value)]));
      const values = times.map((time) => (Number.isFinite(at.get(time)) ? at.get(time) : null));
      return { name: named(panel.targets[query].legendFormat, labels), values };
    }),
  );
  return { times, series };
}

function graph(box, panel, answers, window, { width, height }) {
  const { times, series } = alignedSeries(panel, answers, window);
  const { unit, min, max, custom } = panel.fieldConfig.defaults;
  const isStacked = custom?.stacking?.mode === "normal";
  const drawn = series.map(({ values }) => values);
  if (isStacked) {
    for (let index = 1; index < drawn.length; index++) {
      drawn[index] = drawn[index].map((value, at) => (value === null ? drawn[index - 1][at] : value + (drawn[index - 1][at] ?? 0)));
    }
  }
  const fill = (index) => LINES[index % LINES.length] + Math.round(((custom?.fillOpacity ?? 0) * 255) / 100).toString(16).padStart(2, "0");
  const options = {
    width: width - 12,
    height: height - HEAD - LEGEND,
    cursor: { show: false },
    scales: {
      x: { time: true, range: () => [window.start, window.end] },
      y: {
        range: (_, low, high) => {
          const bottom = min ?? Math.min(low ?? 0, 0);
          const top = max ?? (high > bottom ? high + (high - bottom) * 0.1 : bottom + 1);
          return [bottom, top];
        },
      },
    },
    axes: [
      { stroke: "#9a9aa6", grid: { stroke: "#24262c" }, ticks: { show: false }, values: (_, all) => all.map((time) => new Date(time * 1000).toISOString().slice(11, 19)), space: 80 },
      { stroke: "#9a9aa6", grid: { stroke: "#24262c" }, ticks: { show: false }, values: (_, all) => all.map((value) => inUnit(value, unit)), size: 78, incrs: unit === "bytes" ? BYTES : undefined },
    ],
    series: [
      {},
      ...series.map(({ name }, index) => ({
        label: name,
        stroke: LINES[index % LINES.length],
        width: custom?.lineWidth ?? 1,
        fill: isStacked && index > 0 ? undefined : fill(index),
        points: { show: false },
      })),
    ],
    bands: isStacked ? series.slice(1).map((_, index) => ({ series: [index + 2, index + 1], fill: fill(index + 1) })) : [],
  };
  const place = element(box, "div", { style: { marginLeft: "4px" } });
  new uPlot(options, [times, ...drawn], place);
  const legend = element(box, "div", { className: "legend" });
  for (const [index, { name }] of series.entries()) {
    const entry = element(legend, "span");
    element(entry, "i", { style: { background: LINES[index % LINES.length] } });
    entry.append(name);
  }
}

function stat(box, panel, answers, window, { width, height }) {
  const { series, times } = alignedSeries(panel, answers, window);
  const value = series[0].values.findLast((each) => each !== null);
  if (value === undefined) {
    return element(box, "div", { className: "nothing", text: "NaN" });
  }
  const { defaults } = panel.fieldConfig;
  const color = colorOf(value, defaults);
  element(box, "div", { className: "value", text: inUnit(value, defaults.unit), style: { color } });
  const place = element(box, "div", { className: "spark" });
  const top = Math.max(...series[0].values.filter((each) => each !== null), 1e-9);
  const options = {
    width,
    height: Math.round(height * 0.35),
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    padding: [0, 0, 0, 0],
    scales: { x: { range: () => [window.start, window.end] }, y: { range: () => [Math.min(0, ...series[0].values), top * 1.1] } },
    series: [{}, { stroke: color, width: 1, fill: `${color}40`, points: { show: false } }],
  };
  new uPlot(options, [times, series[0].values], place);
}

function bars(box, panel, answers) {
  const { defaults } = panel.fieldConfig;
  const place = element(box, "div", { className: "bars" });
  for (const [query, answer] of answers.entries()) {
    for (const { labels, points } of answer) {
      const value = Number(points.at(-1)[1]);
      const line = element(place, "div");
      element(line, "label", { text: named(panel.targets[query].legendFormat, labels) });
      const whole = element(line, "u");
      element(whole, "b", { style: { width: `${Math.min(100, (100 * value) / (defaults.max ?? 1))}%`, background: colorOf(value, defaults) } });
      element(line, "em", { text: inUnit(value, defaults.unit) });
    }
  }
}

/** A row for each set of labels; a column for each label and each query, as the transformations `merge` and `organize` make them. */
function table(box, panel, answers) {
  const rows = new Map();
  const columns = new Set();
  for (const [query, answer] of answers.entries()) {
    const column = answers.length === 1 ? "Value" : `Value #${panel.targets[query].refId}`;
    for (const { labels, points } of answer) {
      const key = JSON.stringify(labels);
      Object.keys(labels).forEach((label) => columns.add(label));
      rows.set(key, { ...(rows.get(key) ?? labels), [column]: inUnit(Number(points.at(-1)[1]), panel.fieldConfig.defaults.unit) });
    }
    columns.add(column);
  }
  const { renameByName = {} } = panel.transformations?.find(({ id }) => id === "organize")?.options ?? {};
  const place = element(box, "table");
  const head = element(place, "tr");
  columns.forEach((column) => element(head, "th", { text: renameByName[column] ?? column }));
  for (const row of rows.values()) {
    const line = element(place, "tr");
    columns.forEach((column) => element(line, "td", { text: row[column] ?? "" }));
  }
}

const DRAWN = { timeseries: graph, stat, bargauge: bars, table };

globalThis.drawDashboard = (dashboard, answers, window) => {
  element(document.body, "h1", { text: dashboard.title });
  const main = element(document.body, "main");
  const column = (document.body.clientWidth - 16) / COLUMNS;
  for (const panel of dashboard.panels) {
    const { x, y, w, h } = panel.gridPos;
    const size = { width: w * column - GAP, height: h * ROW - GAP };
    const style = { left: `${x * column}px`, top: `${y * ROW}px`, width: `${size.width}px`, height: `${size.height}px` };
    if (panel.type === "row") {
      element(main, "section", { className: "row", text: panel.title, style });
      continue;
    }
    const box = element(main, "section", { style });
    element(box, "h2", { text: panel.title });
    const answer = answers[panel.id];
    if (answer.every((series) => series.length === 0)) {
      element(box, "div", { className: "nothing", text: "No data" });
    } else {
      DRAWN[panel.type](box, panel, answer, window, size);
    }
  }
};
