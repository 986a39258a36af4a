// What the processes of a cluster say to each other, counted on its way: messages of gRPC by their methods.
import { once } from "node:events";
import { connect, constants, createServer } from "node:http2";
import { whenOver } from "./cleanup.mjs";

/** Bytes in front of each message: whether it is compressed, and how long it is. */
const PREFIX_BYTES = 5;

/**
 * Stands between a process of this machine, which listens at `port` for others and without certificates, and these. They call the
 * port of the `Counted` that is returned.
 */
export async function startCounting(context, port) {
  const counted = new Counted();
  const sessions = new Set();
  const server = createServer();
  server.on("session", (session) => {
    const onwards = connect(`http://127.0.0.1:${port}`);
    sessions.add(session);
    session.onwards = onwards;
    // A process that is not there yet, or not any more: its caller sees a connection that ends.
    for (const [one, other] of [[session, onwards], [onwards, session]]) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => forward(stream, headers, counted));
  server.on("sessionError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  whenOver(context, () => {
    sessions.forEach((session) => session.destroy());
    server.close();
  });
  counted.port = server.address().port;
  return counted;
}

function forward(stream, headers, counted) {
  const { onwards } = stream.session;
  stream.on("error", () => {});
  // It has ended, or takes no more requests.
  if (onwards.closed || onwards.destroyed) {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    return;
  }
  const request = onwards.request(headers, { endStream: false });
  request.on("error", () => {});
  const method = headers[":path"];
  stream.on("data", counter(() => counted.add(method)));
  stream.pipe(request);
  let trailers = {};
  request.on("response", (answer, flags) => {
    if (stream.destroyed) {
      return;
    }
    if (flags & constants.NGHTTP2_FLAG_END_STREAM) {
      stream.respond(answer, { endStream: true });
      return;
    }
    stream.respond(answer, { waitForTrailers: true });
    request.pipe(stream);
  });
  request.on("trailers", (sent) => (trailers = sent));
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.on("close", () => request.close(stream.rstCode));
  request.on("close", () => request.rstCode !== 0 && stream.close(request.rstCode));
}

/** Calls back for each message that begins in the chunks that it is given. */
function counter(onMessage) {
  let prefix = Buffer.alloc(0);
  let left = 0;
  return (chunk) => {
    let rest = chunk;
    while (rest.length > 0) {
      if (left > 0) {
        const taken = Math.min(left, rest.length);
        left -= taken;
        rest = rest.subarray(taken);
        continue;
      }
      const wanted = PREFIX_BYTES - prefix.length;
      prefix = Buffer.concat([prefix, rest.subarray(0, wanted)]);
      rest = rest.subarray(wanted);
      if (prefix.length === PREFIX_BYTES) {
        onMessage();
        left = prefix.readUInt32BE(1);
        prefix = Buffer.alloc(0);
      }
    }
  };
}

/** Messages that others have sent to a process. */
class Counted {
  #messages = new Map();
  port = 0;

  add(method) {
    this.#messages.set(method, (this.#messages.get(method) ?? 0) + 1);
  }

  /** By methods, as in `/tidemark.txlog.v1.Raft/Append`. */
  get messages() {
    return new Map(this.#messages);
  }
}
