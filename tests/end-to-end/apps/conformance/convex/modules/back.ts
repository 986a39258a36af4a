import { suffix } from "./circle";

export const name = () => (suffix().length > 0 ? "once" : "never");
