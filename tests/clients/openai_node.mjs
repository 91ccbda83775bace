// The official openai SDK for Node, as an app has it. RELAY_URL and API_KEY in the environment; one JSON object a scenario on stdout.
// Its own retries are off: they would hide errors. tests/e2e/test_openai_node.py judges what is printed.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_CLIENT + "/");
const { default: OpenAI } = require("openai");

const { RELAY_URL, API_KEY } = process.env;
const client = new OpenAI({ baseURL: `${RELAY_URL}/v1`, apiKey: API_KEY, maxRetries: 0, timeout: 30_000 });
const HELLO = [{ role: "user", content: "Hello there" }];
const WEATHER = [{ role: "user", content: "call get_weather for Berlin" }];
const TOOLS = [{
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
}];

async function failure(promise) {
  try {
    await promise;
  } catch (e) {
    return { class: e.constructor.name, status: e.status, code: e.code, requestId: e.requestID, message: e.message };
  }
  return null;
}

async function read(stream) {
  let text = "";
  let usage = null;
  let finish = null;
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    text += chunk.choices[0]?.delta?.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  return { text, usage, finish };
}

const chat = (model, more = {}) => client.chat.completions.create({ model, messages: HELLO, ...more });

const scenarios = {
  async unary() {
    const { data, request_id: requestId } = await chat("gpt-4o").withResponse();
    return { text: data.choices[0].message.content, usage: data.usage, finish: data.choices[0].finish_reason, requestId };
  },

  async stream() {
    return read(await chat("gpt-4o", { stream: true, stream_options: { include_usage: true } }));
  },

  async side_by_side() {
    const ask = (i) => client.chat.completions.create({ model: "gpt-4o", messages: [{ role: "user", content: `number ${i}` }] });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(i)));
    return answers.map((answer) => answer.choices[0].message.content);
  },

  async tools() {
    const first = await chat("gpt-4o", { messages: WEATHER, tools: TOOLS });
    const [call] = first.choices[0].message.tool_calls;
    const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
    const last = await chat("gpt-4o", { messages: [...WEATHER, first.choices[0].message, result], tools: TOOLS });
    return { finish: first.choices[0].finish_reason, arguments: JSON.parse(call.function.arguments), text: last.choices[0].message.content };
  },

  async streamed_tools() {
    const runner = client.chat.completions.stream({ model: "gpt-4o", messages: WEATHER, tools: TOOLS });
    const [call] = (await runner.finalChatCompletion()).choices[0].message.tool_calls;
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments) };
  },

  async embeddings() {
    const answer = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"], dimensions: 8 });
    return answer.data.map((item) => item.embedding.length);
  },

  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    return names;
  },

  async errors() {
    const stranger = new OpenAI({ baseURL: `${RELAY_URL}/v1`, apiKey: "lc_prod_nonsense", maxRetries: 0 });
    return {
      key: await failure(stranger.models.list()),
      model: await failure(chat("no-such-model")),
      body: await failure(chat("gpt-4o", { n: "many" })),
      limit: await failure(chat("gpt-4o-mini+fail-status-429")),
      provider: await failure(chat("gpt-4o-mini+fail-status-500")),
      stream: await failure(chat("gpt-4o-mini+fail-status-503", { stream: true })),
    };
  },

  async cut_in_mid_stream() {
    let text = "";
    const failed = await failure((async () => {
      for await (const chunk of await chat("gpt-4o-mini+fail-cut-3", { stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    })());
    return { text, failed };
  },

  async abort() {
    const { data: stream, request_id: requestId } = await chat("gpt-4o-mini+slow-20+long-2000", { stream: true }).withResponse();
    let chunks = 0;
    for await (const _ of stream) {
      if (++chunks === 5) stream.controller.abort();
    }
    return { chunks, requestId };
  },

  async abort_before_the_answer() {
    const controller = new AbortController();
    const call = client.chat.completions.create({ model: "gpt-4o-mini+fail-stall", messages: HELLO }, { signal: controller.signal });
    process.stdin.once("data", () => controller.abort()); // the test says when the provider has the request
    const failed = await failure(call);
    process.stdin.destroy();
    return failed;
  },
};

const wanted = process.argv.slice(2);
for (const name of wanted.length ? wanted : Object.keys(scenarios)) {
  console.log(JSON.stringify({ name, result: await scenarios[name]() }));
}
