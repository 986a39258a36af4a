// HTTP actions: how a request gets to the app's router, and its answer away. The host brings the request's body as it is read,
// and takes the answer's as it is written.
import { operation } from "tidemark:host";
import { codedError } from "tidemark:errors";
import { requestOf } from "tidemark:request";
import { syscall } from "tidemark:requests";
import { partsOfResponse } from "tidemark:response";
import { streams } from "tidemark:streams";

const { ReadableStream } = streams;

// A larger piece of an answer is sent in several.
const PIECE_BYTES = 1 << 16;

// What the router has answered.
let answer = null;

// `text` is JSON: `{ url, method, headers, hasBody, route }`; the route is the path as the router knows it. The promise is
// fulfilled when all of the answer is sent, or nobody takes it any more.
export async function answerRequest(router, text) {
  const { method, route: path } = JSON.parse(text);
  // What the log calls it.
  const route = router.lookup(path, method);
  if (route) {
    syscall("tidemark/httpRoute", JSON.stringify({ method: route[1], path: route[2] }));
  }
  await router.runRequest(text, path);
  if (answer === null) {
    throw invalidResponse();
  }
  await send(answer);
}

// What the library's router asks for, and wants at once: bodies come and go beside it.
export function requestFromConvexJson({ convexJson: { url, method, headers, hasBody } }) {
  return requestOf({ url, method, headers, stream: hasBody ? requestBody() : null });
}

export function convexJsonFromResponse({ response }) {
  const parts = partsOfResponse(response);
  // `Response.error()` has no status.
  if (parts === null || parts.status === 0) {
    throw invalidResponse();
  }
  if (parts.body?.isUnusable) {
    throw codedError("InvalidHttpResponse", "The body of the Response has already been read.", TypeError);
  }
  answer = parts;
  return { status: parts.status };
}

const invalidResponse = () => codedError("InvalidHttpResponse", "An HTTP action must return a Response.", TypeError);

function requestBody() {
  return new ReadableStream({
    type: "bytes",
    pull: async (controller) => {
      // Bytes, or text at the end.
      const piece = await operation("tidemark/httpRead", "{}");
      if (typeof piece !== "string") {
        controller.enqueue(new Uint8Array(piece));
        return;
      }
      controller.close();
      controller.byobRequest?.respond(0);
    },
  });
}

// Whether more is wanted.
async function write(name, args, bytes) {
  return (await operation(name, JSON.stringify(args), bytes)) === "true";
}

async function send({ status, headers, body }) {
  if (body === null || body.isBytes) {
    const bytes = body === null ? new Uint8Array(0) : body.take();
    const isLast = bytes.length <= PIECE_BYTES;
    const head = { status, headers, bodyBytes: bytes.length, isLast };
    const isWanted = await write("tidemark/httpAnswer", head, isLast ? copyOf(bytes) : undefined);
    if (!isLast && isWanted && (await writeAll(bytes))) {
      await write("tidemark/httpWrite", { isLast: true });
    }
    return;
  }
  const reader = body.stream().getReader();
  try {
    await write("tidemark/httpAnswer", { status, headers, bodyBytes: null, isLast: false });
    // It may be long before there is something to send.
    operation("tidemark/httpClientGone", "{}").then(() => reader.cancel(clientGone())).catch(() => {});
    await pump(reader);
  } catch (error) {
    // The client is to see that this was not all.
    syscall("tidemark/httpCut", "{}");
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

async function pump(reader) {
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      await write("tidemark/httpWrite", { isLast: true });
      return;
    }
    if (!(value instanceof Uint8Array)) {
      throw new TypeError("A chunk of a body must be a Uint8Array");
    }
    if (!(await writeAll(value))) {
      await reader.cancel(clientGone());
      return;
    }
  }
}

// Whether more is wanted after these.
async function writeAll(bytes) {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = copyOf(bytes.subarray(at, at + PIECE_BYTES));
    if (!(await write("tidemark/httpWrite", { isLast: false }, piece))) {
      return false;
    }
  }
  return true;
}

// What the function that writes the body sees.
const clientGone = () => codedError("ClientGone", "The client has gone away.");

const copyOf = (bytes) => bytes.slice().buffer;
