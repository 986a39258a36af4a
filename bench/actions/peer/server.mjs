// The peer: an empty function in Node.js, each call in surroundings of its own. A POST to /vm runs it in a new context of
// `node:vm`, which shares the process and its heap; a POST to /worker runs it in a new thread of `node:worker_threads`.
import http from "node:http";
import vm from "node:vm";
import { Worker } from "node:worker_threads";

const script = new vm.Script("(async () => null)()");

const inContext = () => script.runInContext(vm.createContext({}));

const inWorker = () =>
  new Promise((done, failed) => {
    const worker = new Worker('require("node:worker_threads").parentPort.postMessage(null)', { eval: true });
    worker.once("message", (value) => worker.terminate().then(() => done(value), failed));
    worker.once("error", failed);
  });

const server = http.createServer(async (request, response) => {
  try {
    for await (const _chunk of request);
    const value = await (request.url === "/worker" ? inWorker() : inContext());
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ status: "success", value }));
  } catch (error) {
    response.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ status: "error", message: String(error) }));
  }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
