// `process.env` and its neighbours hold what functions may see.
const OWN = ["HOME", "PATH", "TMPDIR", "TIDEMARK_NODE_PROCESS"];

export function setEnvironment(variables) {
  for (const name of Object.keys(process.env)) {
    if (!OWN.includes(name)) {
      delete process.env[name];
    }
  }
  // External packages read it; in bundles it has been replaced by this value.
  Object.assign(process.env, { NODE_ENV: "production" }, variables);
  process.argv.length = 1;
}
