// fetch()
import { unavailable } from "tidemark:errors";

export async function fetch(_input, _init = undefined) {
  throw unavailable("fetch()", "Fetch");
}
