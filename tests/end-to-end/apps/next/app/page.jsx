import { fetchQuery, preloadQuery } from "convex/nextjs";
import { anyApi } from "convex/server";
import { addNote } from "./actions";
import { Mine } from "./live";
import { tokenOfUser } from "./session";

const { notes } = anyApi;

export default async function Page() {
  const token = await tokenOfUser();
  const preloaded = await preloadQuery(notes.mine, {}, { token });
  const count = await fetchQuery(notes.count, {}, { token });
  return (
    <>
      <p>{`${count} notes when the page was made.`}</p>
      <Mine preloaded={preloaded} />
      <form action={addNote}>
        <button>Add</button>
      </form>
    </>
  );
}
