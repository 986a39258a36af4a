const stacks = new WeakMap();

/**
 * Runs `action` when the test ends, the last one registered first: Node's own `after` goes the other way, and would
 * take the folder from under the process that uses it. `context` is a test's context, or an object with node:test's
 * `after` for a whole file. Every action runs; the test fails with the first error.
 */
export function whenOver(context, action) {
  if (!stacks.has(context)) {
    const stack = [];
    stacks.set(context, stack);
    context.after(() => runAll(stack));
  }
  stacks.get(context).push(action);
}

async function runAll(stack) {
  const errors = [];
  while (stack.length > 0) {
    try {
      await stack.pop()();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) {
    throw errors[0];
  }
}
