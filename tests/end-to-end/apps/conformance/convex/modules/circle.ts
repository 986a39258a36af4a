// Imports what imports it.
import { name } from "./back";

export const suffix = () => "in a circle";
export const named = () => `${name()} ${suffix()}`;
