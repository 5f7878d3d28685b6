// Drives official SDKs, unchanged, against a running stack: every client runs the
// same cells, and one JSON object says which of them held.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { ChatAnthropic } from "@langchain/anthropic";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const base = process.env.BASE_URL;
const apiKey = process.env.API_KEY;
const model = process.env.CHAT_MODEL;
const embedModel = process.env.EMBED_MODEL;
// What the simulated vendor makes of a text.
const vector = (text, dimensions = 8) => [...createHash("sha256").update(text).digest()].slice(0, dimensions).map((b) => b - 127.5);
const ask = "hello";
const said = "You said: hello";
const useTool = "please use tool";
const schema = { type: "object", properties: { value: { type: "string" } }, required: ["value"], additionalProperties: false };
const args = { value: "42" };
const toolAnswer = "the answer is 42";

const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: base, apiKey, maxRetries: 0 });
const google = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base } });

const drain = async (stream, each) => {
  for await (const item of stream) each(item);
};

const chat = {
  async whole() {
    const r = await openai.chat.completions.create({ model, messages: [{ role: "user", content: ask }] });
    assert.equal(r.choices[0].message.content, said);
    assert.ok(r.usage.total_tokens > 0);
  },
  async streamed() {
    let text = "", usage;
    await drain(await openai.chat.completions.create({ model, messages: [{ role: "user", content: ask }], stream: true, stream_options: { include_usage: true } }), (c) => {
      text += c.choices[0]?.delta?.content ?? "";
      usage = c.usage ?? usage;
    });
    assert.equal(text, said);
    assert.ok(usage.total_tokens > 0);
  },
  async tools() {
    const tools = [{ type: "function", function: { name: "lookup", parameters: schema } }];
    const messages = [{ role: "user", content: useTool }];
    const r = await openai.chat.completions.create({ model, messages, tools });
    const call = r.choices[0].message.tool_calls[0];
    assert.deepEqual(JSON.parse(call.function.arguments), args);
    const then = await openai.chat.completions.create({ model, tools, messages: [...messages, r.choices[0].message, { role: "tool", tool_call_id: call.id, content: toolAnswer }] });
    assert.ok(then.choices[0].message.content.length > 0);
  },
  async "tools streamed"() {
    const runner = openai.chat.completions.stream({ model, messages: [{ role: "user", content: useTool }], tools: [{ type: "function", function: { name: "lookup", parameters: schema } }] });
    const message = (await runner.finalChatCompletion()).choices[0].message;
    assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), args);
  },
  async structured() {
    const r = await openai.chat.completions.create({ model, messages: [{ role: "user", content: ask }], response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: true } } });
    assert.deepEqual(JSON.parse(r.choices[0].message.content), args);
  },
};

const withEmbeddings = {
  ...chat,
  async embeddings() {
    // Without encoding_format this client asks for base64 and decodes it.
    const r = await openai.embeddings.create({ model: embedModel, input: ["one", "two"] });
    assert.deepEqual(r.data.map((d) => [...d.embedding]), [vector("one"), vector("two")]);
    assert.ok(r.usage.prompt_tokens > 0);
    const short = await openai.embeddings.create({ model: embedModel, input: "one", dimensions: 4, encoding_format: "float" });
    assert.deepEqual(short.data[0].embedding, vector("one", 4));
    const cut = await openai.embeddings.create({ model: embedModel, input: [[1, 2], [3]] });
    assert.deepEqual(cut.data.map((d) => [...d.embedding]), [vector("[1,2]"), vector("[3]")]);
  },
};

const responses = {
  async whole() {
    const r = await openai.responses.create({ model, input: ask, store: false });
    assert.equal(r.output_text, said);
  },
  async streamed() {
    let text = "", done;
    await drain(await openai.responses.create({ model, input: ask, store: false, stream: true }), (e) => {
      if (e.type === "response.output_text.delta") text += e.delta;
      if (e.type === "response.completed") done = e.response;
    });
    assert.equal(text, said);
    assert.ok(done.usage.total_tokens > 0);
  },
  async tools() {
    const tools = [{ type: "function", name: "lookup", parameters: schema, strict: true }];
    const input = [{ role: "user", content: useTool }];
    const r = await openai.responses.create({ model, input, tools, store: false });
    const call = r.output.find((i) => i.type === "function_call");
    assert.deepEqual(JSON.parse(call.arguments), args);
    const then = await openai.responses.create({ model, tools, store: false, input: [...input, ...r.output, { type: "function_call_output", call_id: call.call_id, output: toolAnswer }] });
    assert.ok(then.output_text.length > 0);
  },
  async "tools streamed"() {
    const runner = openai.responses.stream({ model, input: useTool, store: false, tools: [{ type: "function", name: "lookup", parameters: schema, strict: true }] });
    const call = (await runner.finalResponse()).output.find((i) => i.type === "function_call");
    assert.deepEqual(JSON.parse(call.arguments), args);
  },
  async structured() {
    const r = await openai.responses.create({ model, input: ask, store: false, text: { format: { type: "json_schema", name: "answer", schema, strict: true } } });
    assert.deepEqual(JSON.parse(r.output_text), args);
  },
};

const messages = {
  async whole() {
    const r = await anthropic.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content: ask }] });
    assert.equal(r.content[0].text, said);
    assert.ok(r.usage.output_tokens > 0);
  },
  async streamed() {
    const r = await anthropic.messages.stream({ model, max_tokens: 100, messages: [{ role: "user", content: ask }] }).finalMessage();
    assert.equal(r.content[0].text, said);
    assert.ok(r.usage.output_tokens > 0);
  },
  async tools() {
    const tools = [{ name: "lookup", input_schema: schema }];
    const history = [{ role: "user", content: useTool }];
    const r = await anthropic.messages.create({ model, max_tokens: 100, messages: history, tools });
    const call = r.content.find((b) => b.type === "tool_use");
    assert.deepEqual(call.input, args);
    const then = await anthropic.messages.create({ model, max_tokens: 100, tools, messages: [...history, { role: "assistant", content: r.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: toolAnswer }] }] });
    assert.ok(then.content[0].text.length > 0);
  },
  async "tools streamed"() {
    const r = await anthropic.messages.stream({ model, max_tokens: 100, messages: [{ role: "user", content: useTool }], tools: [{ name: "lookup", input_schema: schema }] }).finalMessage();
    assert.deepEqual(r.content.find((b) => b.type === "tool_use").input, args);
  },
  async structured() {
    const r = await anthropic.messages.create({ model, max_tokens: 100, messages: [{ role: "user", content: ask }], output_config: { format: { type: "json_schema", schema } } });
    assert.deepEqual(JSON.parse(r.content[0].text), args);
  },
};

const genai = {
  async whole() {
    const r = await google.models.generateContent({ model, contents: ask });
    assert.equal(r.text, said);
    assert.ok(r.usageMetadata.totalTokenCount > 0);
  },
  async streamed() {
    let text = "", total = 0;
    await drain(await google.models.generateContentStream({ model, contents: ask }), (c) => {
      text += c.text ?? "";
      total = c.usageMetadata?.totalTokenCount ?? total;
    });
    assert.equal(text, said);
    assert.ok(total > 0);
  },
  async tools() {
    const config = { tools: [{ functionDeclarations: [{ name: "lookup", parametersJsonSchema: schema }] }] };
    const contents = [{ role: "user", parts: [{ text: useTool }] }];
    const r = await google.models.generateContent({ model, contents, config });
    const call = r.functionCalls[0];
    assert.deepEqual(call.args, args);
    const then = await google.models.generateContent({ model, config, contents: [...contents, r.candidates[0].content, { role: "user", parts: [{ functionResponse: { id: call.id, name: call.name, response: { output: toolAnswer } } }] }] });
    assert.ok(then.text.length > 0);
  },
  async "tools streamed"() {
    let call;
    await drain(await google.models.generateContentStream({ model, contents: useTool, config: { tools: [{ functionDeclarations: [{ name: "lookup", parametersJsonSchema: schema }] }] } }), (c) => {
      call = c.functionCalls?.[0] ?? call;
    });
    assert.deepEqual(call.args, args);
  },
  async structured() {
    const r = await google.models.generateContent({ model, contents: ask, config: { responseMimeType: "application/json", responseJsonSchema: schema } });
    assert.deepEqual(JSON.parse(r.text), args);
  },
};

// The AI SDK has one surface for all its providers.
const aiEmbeddings = (m) => ({
  async embeddings() {
    const one = await embed({ model: m, value: "one", maxRetries: 0 });
    assert.deepEqual(one.embedding, vector("one"));
    assert.ok(one.usage.tokens > 0);
    const many = await embedMany({ model: m, values: ["one", "two"], maxRetries: 0 });
    assert.deepEqual(many.embeddings, [vector("one"), vector("two")]);
  },
});

const aiSDK = (m) => {
  const tools = { lookup: tool({ description: "looks up", inputSchema: z.object({ value: z.string() }), execute: async () => toolAnswer }) };
  return {
    async whole() {
      const r = await generateText({ model: m, prompt: ask, maxRetries: 0 });
      assert.equal(r.text, said);
      assert.ok(r.usage.outputTokens > 0);
    },
    async streamed() {
      const r = streamText({ model: m, prompt: ask, maxRetries: 0 });
      let text = "";
      await drain(r.textStream, (t) => (text += t));
      assert.equal(text, said);
      assert.equal(await r.finishReason, "stop");
    },
    async tools() {
      const r = await generateText({ model: m, prompt: useTool, tools, stopWhen: stepCountIs(2), maxRetries: 0 });
      assert.deepEqual(r.steps[0].toolCalls[0].input, args);
      assert.ok(r.text.length > 0);
    },
    async "tools streamed"() {
      const r = streamText({ model: m, prompt: useTool, tools, stopWhen: stepCountIs(2), maxRetries: 0 });
      await r.consumeStream();
      const steps = await r.steps;
      assert.deepEqual(steps[0].toolCalls[0].input, args);
      assert.ok((await r.text).length > 0);
    },
    async structured() {
      const r = await generateText({ model: m, prompt: ask, maxRetries: 0, experimental_output: Output.object({ schema: z.object({ value: z.string() }) }) });
      assert.deepEqual(r.experimental_output, args);
    },
  };
};

const langchain = (m, method) => {
  const lookup = { name: "lookup", description: "looks up", schema: z.object({ value: z.string() }) };
  return {
    async whole() {
      const r = await m.invoke(ask);
      assert.equal(r.text, said);
      assert.ok(r.usage_metadata.total_tokens > 0);
    },
    async streamed() {
      let text = "";
      await drain(await m.stream(ask), (c) => (text += c.text));
      assert.equal(text, said);
    },
    async tools() {
      const bound = m.bindTools([lookup]);
      const r = await bound.invoke(useTool);
      assert.deepEqual(r.tool_calls[0].args, args);
      const then = await bound.invoke([{ role: "user", content: useTool }, r, { role: "tool", content: toolAnswer, tool_call_id: r.tool_calls[0].id }]);
      assert.ok(then.text.length > 0);
    },
    async "tools streamed"() {
      let all;
      await drain(await m.bindTools([lookup]).stream(useTool), (c) => (all = all ? all.concat(c) : c));
      assert.deepEqual(all.tool_calls[0].args, args);
    },
    async structured() {
      assert.deepEqual(await m.withStructuredOutput(z.object({ value: z.string() }), { name: "answer", method }).invoke(ask), args);
    },
  };
};

const langchainEmbeddings = {
  async embeddings() {
    const m = new OpenAIEmbeddings({ model: embedModel, apiKey, maxRetries: 0, configuration: { baseURL: `${base}/v1` } });
    assert.deepEqual(await m.embedQuery("one"), vector("one"));
    assert.deepEqual(await m.embedDocuments(["one", "two"]), [vector("one"), vector("two")]);
  },
};

const compatible = createOpenAICompatible({ name: "latchkey", baseURL: `${base}/v1`, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const vercel = createOpenAI({ baseURL: `${base}/v1`, apiKey });
const clients = {
  "npm openai, chat completions": withEmbeddings,
  "npm openai, responses": responses,
  "npm @anthropic-ai/sdk": messages,
  "npm @google/genai": genai,
  "npm ai, openai (responses)": aiSDK(vercel(model)),
  "npm ai, openai (chat)": { ...aiSDK(vercel.chat(model)), ...aiEmbeddings(vercel.textEmbeddingModel(embedModel)) },
  "npm ai, anthropic": aiSDK(createAnthropic({ baseURL: `${base}/v1`, apiKey })(model)),
  "npm ai, google": aiSDK(createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey })(model)),
  "npm ai, openai-compatible": { ...aiSDK(compatible(model)), ...aiEmbeddings(compatible.textEmbeddingModel(embedModel)) },
  "npm @langchain/openai": { ...langchain(new ChatOpenAI({ model, apiKey, maxRetries: 0, configuration: { baseURL: `${base}/v1` } }), "jsonSchema"), ...langchainEmbeddings },
  "npm @langchain/anthropic": langchain(new ChatAnthropic({ model, apiKey, maxRetries: 0, anthropicApiUrl: base, maxTokens: 100 }), "jsonSchema"),
};

const out = {};
for (const [name, cells] of Object.entries(clients)) {
  out[name] = {};
  for (const [cell, run] of Object.entries(cells)) {
    try {
      await run();
      out[name][cell] = "ok";
    } catch (e) {
      out[name][cell] = String(e?.stack ?? e).slice(0, 600);
    }
  }
}
process.stdout.write("\n" + JSON.stringify(out) + "\n");
