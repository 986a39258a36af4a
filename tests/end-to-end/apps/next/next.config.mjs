// The packages are those of the tests.
export default { turbopack: { root: new URL("../..", import.meta.url).pathname } };
