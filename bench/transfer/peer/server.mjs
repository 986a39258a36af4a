// The peer: what a team would write by hand in Node.js over serializable PostgreSQL.
// PUT of {from, to, amount} to /rounds makes five round trips and a commit, /call one call of a stored function.
import http from "node:http";
import pg from "pg";

const connections = Number(process.env.POOL_CONNECTIONS);
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: connections });
const retriesMax = 100;

async function serializable(work) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      // Serialization failures and deadlocks are to be run again.
      if ((error.code !== "40001" && error.code !== "40P01") || attempt === retriesMax) throw error;
    }
  }
}

async function inRounds({ from, to, amount }) {
  const client = await pool.connect();
  try {
    await serializable(async () => {
      try {
        await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
        const select = { name: "select", text: "SELECT balance FROM accounts WHERE number = $1" };
        const payer = (await client.query({ ...select, values: [from] })).rows[0];
        const payee = (await client.query({ ...select, values: [to] })).rows[0];
        if (payer === undefined || payee === undefined) throw new Error("no such account");
        if (BigInt(payer.balance) < BigInt(amount)) throw new Error(`account ${from} has only ${payer.balance}`);
        // Both updates in one statement, so that begin, two reads, the write and the commit are five round trips.
        await client.query({
          name: "update",
          text: "UPDATE accounts SET balance = CASE number WHEN $1 THEN $2::bigint ELSE $4::bigint END WHERE number IN ($1, $3)",
          values: [from, BigInt(payer.balance) - BigInt(amount), to, BigInt(payee.balance) + BigInt(amount)],
        });
        await client.query("COMMIT");
      } catch (error) {
        await client.query("ROLLBACK");
        throw error;
      }
    });
  } finally {
    client.release();
  }
}

async function inOneCall({ from, to, amount }) {
  await serializable(() =>
    pool.query({ name: "transfer", text: "SELECT transfer($1, $2, $3)", values: [from, to, amount] }),
  );
}

const server = http.createServer(async (request, response) => {
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    await (request.url === "/rounds" ? inRounds(body) : inOneCall(body));
    response.writeHead(200, { "content-type": "application/json" }).end('{"status":"success"}');
  } catch (error) {
    response
      .writeHead(500, { "content-type": "application/json" })
      .end(JSON.stringify({ status: "error", message: String(error.message) }));
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
