// What stands in front of a cluster for clients that have one address: each connection to it goes on to a node that takes it.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { whenOver } from "./cleanup.mjs";

/** Listens on loopback until the test is over. Whom it serves is said later, since nodes may have to be told its address. */
export async function startBalancer(context) {
  // Either side may have said all that it has to say, and still listen.
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const balancer = new Balancer(server);
  whenOver(context, () => balancer.close());
  return balancer;
}

class Balancer {
  #server;
  #addresses = [];
  /** Clients, and the address that each is connected to, once it is. */
  #clients = new Map();

  constructor(server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${server.address().port}`;
    server.on("connection", (client) => this.#serve(client));
  }

  /** New connections go to the first of these addresses (URLs) that takes them. Those that are there stay. */
  prefer(addresses) {
    this.#addresses = addresses;
  }

  /** The same, and whoever is connected elsewhere has to connect again. */
  move(addresses) {
    this.prefer(addresses);
    for (const [client, address] of this.#clients) {
      if (address !== addresses[0]) {
        client.destroy();
      }
    }
  }

  /** Where its clients are. */
  get used() {
    return new Set([...this.#clients.values()].filter((address) => address !== null));
  }

  async #serve(client) {
    this.#clients.set(client, null);
    client.on("error", () => {});
    client.on("close", () => this.#clients.delete(client));
    for (const address of this.#addresses) {
      const { hostname, port } = new URL(address);
      const node = connect({ host: hostname, port, allowHalfOpen: true });
      const isTaken = await once(node, "connect").then(() => true, () => false);
      if (isTaken) {
        node.on("error", () => {});
        return this.#join(client, node, address);
      }
    }
    client.destroy();
  }

  #join(client, node, address) {
    if (client.destroyed) {
      return node.destroy();
    }
    this.#clients.set(client, address);
    client.on("close", () => node.destroy());
    node.on("close", () => client.destroy());
    client.pipe(node).pipe(client);
  }

  async close() {
    this.#server.close();
    this.#clients.forEach((_, client) => client.destroy());
    await once(this.#server, "close");
  }
}
