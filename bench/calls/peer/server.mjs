// The peers: what a team would write by hand in Node.js, over SQLite in a file or over PostgreSQL. They keep documents as
// columns, list and insert them as the app does, and answer with the same JSON.
import http from "node:http";

const thing = (number) => ({
  group: number % 7,
  number,
  author: `author ${number % 50}`,
  text: "a text of some length, as a message or the title of an article would have, with a number at its end " + number,
  tags: ["red", "green"],
  isDone: number % 2 === 0,
});
const DOCUMENTS = Number(process.env.DOCUMENTS);
const row = (t) => [t.group, t.number, t.author, t.text, JSON.stringify(t.tags), t.isDone ? 1 : 0];
const shown = (r) => ({
  _id: String(r.id),
  group: r.grp,
  number: r.number,
  author: r.author,
  text: r.text,
  tags: JSON.parse(r.tags),
  isDone: r.is_done === 1,
});

async function sqlite(file) {
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(file);
  database.pragma("journal_mode = WAL");
  database.pragma("synchronous = FULL");
  const columns = "(id INTEGER PRIMARY KEY, grp INT, number INT, author TEXT, text TEXT, tags TEXT, is_done INT)";
  database.exec(`CREATE TABLE things ${columns}; CREATE INDEX by_number ON things (number); CREATE TABLE added ${columns}`);
  const insertInto = (table) =>
    database.prepare(`INSERT INTO ${table} (grp, number, author, text, tags, is_done) VALUES (?, ?, ?, ?, ?, ?)`);
  const [fill, insert] = [insertInto("things"), insertInto("added")];
  const all = database.transaction((statement, count) => {
    for (let number = 0; number < count; number++) statement.run(row(thing(number)));
  });
  all(fill, DOCUMENTS);
  const select = database.prepare("SELECT * FROM things ORDER BY number LIMIT ?");
  return {
    "things:nothing": () => null,
    "things:list": ({ count }) => select.all(count).map(shown),
    "things:insert": ({ count }) => (all(insert, count), null),
  };
}

async function postgres(url) {
  const { default: pg } = await import("pg");
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const columns = "(id bigserial PRIMARY KEY, grp int, number int, author text, text text, tags text, is_done int)";
  await pool.query(`CREATE TABLE things ${columns}; CREATE INDEX by_number ON things (number); CREATE TABLE added ${columns}`);
  const insert = async (client, table, count) => {
    for (let number = 0; number < count; number++) {
      await client.query({
        name: table,
        text: `INSERT INTO ${table} (grp, number, author, text, tags, is_done) VALUES ($1, $2, $3, $4, $5, $6)`,
        values: row(thing(number)),
      });
    }
  };
  const transaction = async (table, count) => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
      await insert(client, table, count);
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
    return null;
  };
  await transaction("things", DOCUMENTS);
  await pool.query("VACUUM ANALYZE things");
  return {
    "things:nothing": () => null,
    "things:list": async ({ count }) =>
      (await pool.query({ name: "list", text: "SELECT * FROM things ORDER BY number LIMIT $1", values: [count] })).rows.map(shown),
    "things:insert": ({ count }) => transaction("added", count),
  };
}

const store = await (process.env.SQLITE_FILE ? sqlite(process.env.SQLITE_FILE) : postgres(process.env.DATABASE_URL));

const server = http.createServer(async (request, response) => {
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { path, args } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    const value = await store[path](args);
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ status: "success", value }));
  } catch (error) {
    response.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ status: "error", message: String(error.message) }));
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
