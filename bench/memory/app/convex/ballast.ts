// The benchmark writes this file anew before each deploy, with much more in it.
export const parts: ((number: number) => string)[] = [(number) => `part ${number}`];
