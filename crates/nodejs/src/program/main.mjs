// Runs the actions of one app, one call at a time, for the server at the other end of two pipes.
import { analyze } from "./analysis.mjs";
import { endCall, runCall } from "./calls.mjs";
import { installConsole } from "./console.mjs";
import { setEnvironment } from "./environment.mjs";
import { listen, send, setFrameLimit } from "./frames.mjs";
import { setFolder } from "./modules.mjs";
import { sendThrown } from "./stacks.mjs";
import { answered, chunkCame, installConvex, moreWanted } from "./syscalls.mjs";

const handlers = {
  start({ environment, folder, logLinesMax, logLineCharsMax, stackFramesMax, operationsMax, frameBytesMax }) {
    Error.stackTraceLimit = stackFramesMax;
    setFolder(folder);
    setEnvironment(environment);
    installConsole(logLinesMax, logLineCharsMax);
    installConvex(operationsMax);
    setFrameLimit(frameBytesMax);
  },
  analyze,
  invoke: runCall,
  answer: answered,
  chunk: chunkCame,
  more: moreWanted,
  // An answer proves that the event loop turns. What the function has left behind sleeps from then on.
  rest() {
    endCall();
    send({ type: "resting" });
  },
};

// What nobody catches ends the process, as everywhere in Node.js; the call learns why.
process.on("uncaughtException", (error) => {
  try {
    sendThrown({ type: "uncaught" }, error);
  } finally {
    process.exit(1);
  }
});

listen((header, body) => handlers[header.type](header, body));
