// The official @anthropic-ai/sdk for Node, as an app has it. RELAY_URL and API_KEY in the environment; one JSON object a scenario on
// stdout. Its own retries are off: they would hide errors. tests/e2e/test_anthropic_node.py judges what is printed.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_CLIENT + "/");
const { default: Anthropic } = require("@anthropic-ai/sdk");

const { RELAY_URL, API_KEY } = process.env;
const options = { baseURL: RELAY_URL, maxRetries: 0, timeout: 30_000 };
const client = new Anthropic({ ...options, apiKey: API_KEY });
const MODELS = { anthropic: "claude-sonnet-4-6", openai: "gpt-4o-mini", google: "gemini-2.5-flash" };
const HELLO = [{ role: "user", content: "Hello there" }];
const WEATHER = [{ role: "user", content: "call get_weather for Berlin" }];
const TOOLS = [{ name: "get_weather", input_schema: { type: "object", properties: { city: { type: "string" } } } }];
const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

async function failure(promise) {
  try {
    await promise;
  } catch (e) {
    return { class: e.constructor.name, status: e.status ?? null, type: e.error?.error?.type ?? null, requestId: e.requestID ?? null, message: e.message };
  }
  return null;
}

const textOf = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const ask = (model, more = {}) => ({ model, max_tokens: 100, messages: HELLO, ...more });
const create = (model, more = {}) => client.messages.create(ask(model, more));

/** The same for each model. */
async function each(scenario) {
  const results = {};
  for (const [name, model] of Object.entries(MODELS)) results[name] = await scenario(model);
  return results;
}

const scenarios = {
  async unary() {
    return each(async (model) => {
      const { data, request_id: requestId } = await create(model).withResponse();
      return { text: textOf(data), stop: data.stop_reason, input: data.usage.input_tokens, output: data.usage.output_tokens, requestId };
    });
  },

  async stream() {
    return each(async (model) => {
      const stream = client.messages.stream(ask(model));
      let text = "";
      stream.on("text", (delta) => (text += delta));
      const message = await stream.finalMessage();
      return { text, whole: textOf(message), stop: message.stop_reason, input: message.usage.input_tokens, output: message.usage.output_tokens, requestId: stream.request_id };
    });
  },

  async events() {
    return each(async (model) => {
      const kinds = [];
      for await (const event of await create(model, { stream: true })) kinds.push(event.type);
      return kinds;
    });
  },

  async tools() {
    return each(async (model) => {
      const first = await create(model, { messages: WEATHER, tools: TOOLS });
      const call = first.content.find((block) => block.type === "tool_use");
      const result = { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] };
      const last = await create(model, { messages: [...WEATHER, { role: "assistant", content: first.content }, result], tools: TOOLS });
      return { stop: first.stop_reason, name: call.name, input: call.input, text: textOf(last) };
    });
  },

  async streamed_tools() {
    return each(async (model) => {
      const message = await client.messages.stream(ask(model, { messages: WEATHER, tools: TOOLS })).finalMessage();
      const call = message.content.find((block) => block.type === "tool_use");
      return { stop: message.stop_reason, name: call.name, input: call.input };
    });
  },

  async images() {
    const content = [{ type: "text", text: "What is this?" }, { type: "image", source: { type: "base64", media_type: "image/png", data: PIXEL } }];
    return each(async (model) => textOf(await create(model, { messages: [{ role: "user", content }] })));
  },

  async count_tokens() {
    const { input_tokens: counted } = await client.messages.countTokens({ model: MODELS.anthropic, messages: HELLO });
    return { counted, elsewhere: await failure(client.messages.countTokens({ model: MODELS.openai, messages: HELLO })) };
  },

  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    return names;
  },

  async side_by_side() {
    const one = (i) => create(Object.values(MODELS)[i % 3], { messages: [{ role: "user", content: `number ${i}` }] });
    return (await Promise.all(Array.from({ length: 12 }, (_, i) => one(i)))).map(textOf);
  },

  async bearer() {
    const bearer = new Anthropic({ ...options, apiKey: null, authToken: API_KEY });
    return textOf(await bearer.messages.create(ask(MODELS.openai)));
  },

  async errors() {
    const stranger = new Anthropic({ ...options, apiKey: "lc_prod_nonsense" });
    return {
      key: await failure(stranger.messages.create(ask(MODELS.anthropic))),
      model: await failure(create("no-such-model")),
      body: await failure(create(MODELS.openai, { max_tokens: -1 })),
      ...Object.fromEntries(await Promise.all(Object.entries(MODELS).flatMap(([name, model]) => [
        [`${name}_limit`, 429], [`${name}_provider`, 500], [`${name}_overloaded`, name === "anthropic" ? 529 : 503],
      ].map(async ([scenario, status]) => [scenario, await failure(create(`${model}+fail-status-${status}`))])))),
    };
  },

  async cut_in_mid_stream() {
    return each(async (model) => {
      let text = "";
      const failed = await failure((async () => {
        for await (const event of await create(`${model}+fail-cut-${model === MODELS.anthropic ? 6 : 2}`, { stream: true }))
          if (event.type === "content_block_delta") text += event.delta.text;
          else if (event.type === "message_stop") text += " (and stopped well)";
      })());
      return { text, failed };
    });
  },

  async abort() {
    const stream = await create(`${MODELS.openai}+slow-20+long-2000`, { stream: true, max_tokens: 4000 });
    let events = 0;
    for await (const _ of stream) if (++events === 5) stream.controller.abort();
    return { events };
  },
};

const wanted = process.argv.slice(2);
for (const name of wanted.length ? wanted : Object.keys(scenarios)) {
  console.log(JSON.stringify({ name, result: await scenarios[name]() }));
}
