// A cluster of three that is held to the rules: by one address for its API and one for its HTTP actions, which lead to a node that does not
// lead, as long as there is one.
import { setTimeout as sleep } from "node:timers/promises";
import { startBalancer } from "../harness/balancer.mjs";
import { whenOver } from "../harness/cleanup.mjs";
import { startCluster } from "../harness/cluster.mjs";
import { startServer } from "./server.mjs";

/** `url` and `adminKey` of a cluster; `prefer(leader)` has new connections go to the others first, and to the leader after them. */
export async function startThree(context, options) {
  const [api, site] = [await startBalancer(context), await startBalancer(context)];
  const settings = { cloud_url: api.url, site_url: site.url };
  const cluster = await startCluster(context, { ...options, settings });
  const prefer = (leader) => {
    const order = [...cluster.nodes.filter((node) => node !== leader), leader];
    api.prefer(order.map((node) => node.api));
    site.prefer(order.map((node) => node.site));
  };
  prefer(await cluster.leader());
  return { url: api.url, adminKey: cluster.nodes[0].adminKey, cluster, prefer };
}

/** The same with what the rules are held against, as `server`. */
export async function startServerOfThree(context, options) {
  let three;
  const server = await startServer(context, async (environment) => {
    three = await startThree(context, { ...options, environment });
    return three;
  });
  return { ...three, server };
}

/** Kills whoever leads, every so often, and starts it again, until the tests are over. Returns the times of the kills. */
export function killLeaders(context, { cluster, prefer }, { everyMs, awayMs }) {
  const kills = [];
  const over = new AbortController();
  const killing = (async () => {
    while (!over.signal.aborted) {
      const leader = await cluster.leader();
      kills.push(Date.now());
      await leader.kill();
      // Those that are connected to others stay there: the next one that is killed may be theirs.
      prefer(leader);
      await sleep(awayMs);
      await cluster.restart(leader);
      await cluster.caughtUp();
      prefer(await cluster.leader());
      await sleep(Math.max(0, kills.at(-1) + everyMs - Date.now()), null, { signal: over.signal }).catch(() => {});
    }
  })();
  killing.catch(() => {});
  whenOver(context, async () => {
    over.abort();
    await killing;
  });
  return kills;
}
