// Grafana's dashboards of deploy/: what is in them, and a page that draws them from what Prometheus answers, since there is no Grafana here.
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openPage } from "./browser.mjs";
import { temporaryFolder } from "./tidemark.mjs";

const DASHBOARDS = new URL("../../../deploy/dashboards/", import.meta.url).pathname;
const MODULES = new URL("../node_modules/", import.meta.url).pathname;
const PARTS = new URL("dashboards/", import.meta.url).pathname;
/** As wide as a usual window; Grafana's grid has 24 columns, and rows of 30 pixels with 8 between them. */
const WIDTH = 1_440;
const ROW = 38;

/** The dashboards, by the names of their files. */
export function dashboards() {
  const files = readdirSync(DASHBOARDS).filter((name) => name.endsWith(".json"));
  return files.map((name) => [name.replace(/\.json$/, ""), JSON.parse(readFileSync(join(DASHBOARDS, name), "utf8"))]);
}

/** All that show something, those within rows included. */
export function panelsOf({ panels }) {
  return panels.flatMap((panel) => [panel, ...panelsOf({ panels: panel.panels ?? [] })]).filter(({ type }) => type !== "row");
}

export function expressionsOf(dashboard) {
  return panelsOf(dashboard).flatMap(({ targets }) => targets.map(({ expr }) => expr));
}

/** With Grafana's variables replaced as it replaces them: `rate` stands for $__rate_interval, and everything is chosen. */
export function asQuery(expression, { rate = "5m", range = "1h" } = {}) {
  return expression
    .replaceAll("$__rate_interval", rate)
    .replaceAll("$__range", range)
    .replace(/\$\{?\w+(:\w+)?\}?/g, ".*");
}

/** What Grafana's own types say against the dashboards: the compiler's lines, or nothing. */
export async function shapeErrors(context) {
  const folder = await temporaryFolder(context);
  await symlink(MODULES, join(folder, "node_modules"));
  await writeFile(join(folder, "shape.ts"), readFileSync(join(PARTS, "shape.ts")));
  const files = await Promise.all(
    dashboards().map(async ([name, dashboard]) => {
      const text = `import type { Shape } from "./shape.ts";\nexport const dashboard: Shape = ${JSON.stringify(dashboard, null, 1)};\n`;
      await writeFile(join(folder, `${name}.ts`), text);
      return `${name}.ts`;
    }),
  );
  const words = "--strict --noEmit --skipLibCheck --allowImportingTsExtensions --module esnext --moduleResolution bundler --target es2022";
  const { error, stdout } = spawnSync(join(MODULES, ".bin/tsc"), [...words.split(" "), ...files], { cwd: folder, encoding: "utf8" });
  if (error) {
    throw error;
  }
  return stdout;
}

/**
 * What a panel shows: for each of its queries the series, as Prometheus answers them. `window` is {start, end, step} in seconds, as Grafana asks
 * for a graph of that width.
 */
export async function askFor(panel, prometheus, window, { rate }) {
  const range = `${window.end - window.start}s`;
  return Promise.all(
    panel.targets.map(async ({ expr, instant }) => {
      const query = asQuery(expr, { rate, range });
      const result = instant ? await prometheus.query(query, window.end) : await prometheus.queryRange(query, window);
      return result.map(({ metric, value, values }) => ({ labels: metric, points: values ?? [value] }));
    }),
  );
}

/** A page with the dashboard drawn on it. `answers` are those of `askFor` by the panels' ids. */
export async function draw(context, browser, dashboard, answers, window) {
  const height = ROW * Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => y + h)) + 80;
  const page = await openPage(context, browser, "about:blank", { viewport: { width: WIDTH, height } });
  await page.addStyleTag({ path: join(MODULES, "uplot/dist/uPlot.min.css") });
  await page.addStyleTag({ path: join(PARTS, "draw.css") });
  await page.addScriptTag({ path: join(MODULES, "uplot/dist/uPlot.iife.min.js") });
  await page.addScriptTag({ path: join(PARTS, "draw.js") });
  await page.evaluate((words) => globalThis.drawDashboard(...words), [dashboard, answers, window]);
  return page;
}
