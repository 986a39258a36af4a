// Reads all documents of a query, many at once, in place of the library's loop over them (guest/values.h says when).
import { convertDocuments, operation } from "tidemark:host";

// Apps may replace the global ones.
const { parse } = JSON;

// `convert` is the library's conversion of one document.
export async function collect(query, convert) {
  const queryId = query.startQuery();
  const all = [];
  for (;;) {
    let text;
    try {
      text = await operation("tidemark/queryStreamPage", '{"queryId":' + queryId + "}");
    } catch {
      // The next document is where it fails, and the library says so in its own way.
      return collectOneByOne(query, all);
    }
    const { documents, done } = parse(text);
    const page = convertDocuments(convert, documents);
    if (done && all.length === 0) {
      query.closeQuery();
      return page;
    }
    for (let index = 0; index < page.length; index++) {
      all[all.length] = page[index];
    }
    if (done) {
      query.closeQuery();
      return all;
    }
  }
}

async function collectOneByOne(query, all) {
  for (;;) {
    const { value, done } = await query.next();
    if (done) {
      return all;
    }
    all[all.length] = value;
  }
}
