// Models as packages for language models want them, without a network: what they answer follows from what they are told.
import type {
  EmbeddingModelV4,
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4Prompt,
  LanguageModelV4StreamPart,
} from "@ai-sdk/provider";

/** What each word of a stream waits for. */
const WORD_MS = 60;

/** What people have said, in the order in which the model was shown it. */
function heard(prompt: LanguageModelV4Prompt): string[] {
  const people = prompt.filter((message) => message.role === "user");
  return people.map(({ content }) => content.map((part) => (part.type === "text" ? part.text : "")).join(""));
}

/** What the tool has answered to the last that was said; undefined if it was not asked yet. */
function measured(prompt: LanguageModelV4Prompt): string | undefined {
  const last = prompt.at(-1);
  const result = last?.role === "tool" ? last.content.find((part) => part.type === "tool-result") : undefined;
  return result?.output.type === "text" ? result.output.value : undefined;
}

/** Repeats all that it was told; asked how warm it is somewhere, it asks its tool first, and is rude if it is told to fail. */
function answer({ prompt, tools = [] }: LanguageModelV4CallOptions): LanguageModelV4Content {
  const said = heard(prompt);
  const place = /how warm is it in (\w+)/i.exec(said.at(-1) ?? "")?.[1];
  if (/fail now/.test(said.at(-1) ?? "")) {
    throw new Error("the model has nothing to say");
  }
  if (place === undefined || !tools.some((tool) => tool.name === "temperature")) {
    return { type: "text", text: `I have heard: ${said.join(" | ")}` };
  }
  const degrees = measured(prompt);
  if (degrees === undefined) {
    return { type: "tool-call", toolCallId: `measure ${place}`, toolName: "temperature", input: JSON.stringify({ place }) };
  }
  return { type: "text", text: `In ${place} it is ${degrees}.` };
}

function finish(content: LanguageModelV4Content) {
  const unified: LanguageModelV4FinishReason["unified"] = content.type === "tool-call" ? "tool-calls" : "stop";
  const [input, output] = [3, 5];
  return {
    finishReason: { unified, raw: undefined },
    usage: {
      inputTokens: { total: input, noCache: input, cacheRead: 0, cacheWrite: 0 },
      outputTokens: { total: output, text: output, reasoning: 0 },
    },
  };
}

export const parrot: LanguageModelV4 = {
  specificationVersion: "v4",
  provider: "components-app",
  modelId: "parrot",
  supportedUrls: {},
  doGenerate: async (options) => {
    const content = answer(options);
    return { content: [content], warnings: [], ...finish(content) };
  },
  doStream: async (options) => {
    const content = answer(options);
    async function* parts(): AsyncGenerator<LanguageModelV4StreamPart> {
      yield { type: "stream-start", warnings: [] };
      if (content.type === "text") {
        yield { type: "text-start", id: "text" };
        for (const word of content.text.split(/(?<= )/)) {
          await new Promise((resolve) => setTimeout(resolve, WORD_MS));
          yield { type: "text-delta", id: "text", delta: word };
        }
        yield { type: "text-end", id: "text" };
      } else if (content.type === "tool-call") {
        yield content;
      }
      yield { type: "finish", ...finish(content) };
    }
    const all = parts();
    const stream = new ReadableStream<LanguageModelV4StreamPart>({
      pull: async (controller) => {
        const { done, value } = await all.next();
        done ? controller.close() : controller.enqueue(value);
      },
    });
    return { stream };
  },
};

export const DIMENSIONS = 128;

/** Texts are as near to each other as they have words in common. */
function embedding(text: string): number[] {
  const vector = new Array<number>(DIMENSIONS).fill(0);
  // Every text has something in common with every other, so that none is nothing.
  vector[0] = 0.1;
  for (const word of text.toLowerCase().match(/\w+/g) ?? []) {
    let hash = 7;
    for (const letter of word) {
      hash = (hash * 31 + letter.charCodeAt(0)) % 1_000_003;
    }
    vector[1 + (hash % (DIMENSIONS - 1))] += 1;
  }
  return vector;
}

export const words: EmbeddingModelV4 = {
  specificationVersion: "v4",
  provider: "components-app",
  modelId: "words",
  maxEmbeddingsPerCall: 100,
  supportsParallelCalls: true,
  doEmbed: async ({ values }) => ({ embeddings: values.map(embedding), usage: { tokens: values.length }, warnings: [] }),
};
