// A page with React, bundled as an app's own tools would, and the server that it comes from.
import { build } from "esbuild";
import { serve } from "./serve.mjs";

const folder = new URL("..", import.meta.url).pathname;

/**
 * Serves the page of a file in `apps/` until the test ends, and returns its origin. `answer` is asked for each address first, and
 * returns a text or nothing.
 */
export async function servePage(context, path, answer = () => undefined) {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../apps/${path}`, import.meta.url).pathname],
    bundle: true,
    write: false,
    format: "esm",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    absWorkingDir: folder,
  });
  return serve(context, async (request, response) => {
    const url = new URL(request.url, "http://page");
    const text = await answer(url);
    if (text !== undefined) {
      return response.end(text);
    }
    const isScript = url.pathname === "/main.js";
    response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? outputFiles[0].text : '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/main.js"></script>');
  });
}
