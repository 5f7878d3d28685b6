// Drives official SDKs, unchanged, through a stream that runs out of credits: every
// client has an organisation of its own. One JSON object says how many characters
// arrived at each and which finish it saw.
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { ChatAnthropic } from "@langchain/anthropic";
import { ChatOpenAI } from "@langchain/openai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";

const base = process.env.BASE_URL;
const model = process.env.CHAT_MODEL;
const keys = JSON.parse(process.env.API_KEYS);
const most = 20000;
const ask = "go on until the credits end";
const messages = [{ role: "user", content: ask }];

const drain = async (stream, each) => {
  for await (const item of stream) each(item);
};

const aiSDK = (make) => async (apiKey) => {
  let error;
  const r = streamText({ model: make(apiKey), prompt: ask, maxOutputTokens: most, maxRetries: 0, onError: (e) => (error = e.error) });
  const text = await r.text;
  if (error) throw error;
  return [text, `${await r.finishReason}`];
};

const langchain = (make, finish) => async (apiKey) => {
  let all;
  await drain(await make(apiKey).stream(ask), (c) => (all = all ? all.concat(c) : c));
  return [all.text, finish(all)];
};

const clients = {
  async "npm openai, chat completions"(apiKey) {
    const r = await new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 }).chat.completions
      .stream({ model, messages, max_completion_tokens: most }).finalChatCompletion();
    return [r.choices[0].message.content, r.choices[0].finish_reason];
  },
  async "npm openai, responses"(apiKey) {
    const r = await new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 }).responses
      .stream({ model, input: ask, store: false, max_output_tokens: most }).finalResponse();
    return [r.output[0].content[0].text, `${r.status} ${r.incomplete_details.reason}`];
  },
  async "npm @anthropic-ai/sdk"(apiKey) {
    const r = await new Anthropic({ baseURL: base, apiKey, maxRetries: 0 }).messages.stream({ model, max_tokens: most, messages }).finalMessage();
    return [r.content[0].text, r.stop_reason];
  },
  async "npm @google/genai"(apiKey) {
    let text = "", finish;
    const google = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base } });
    await drain(await google.models.generateContentStream({ model, contents: ask, config: { maxOutputTokens: most } }), (c) => {
      text += c.text ?? "";
      finish = c.candidates?.[0]?.finishReason ?? finish;
    });
    return [text, finish];
  },
  "npm ai, openai (responses)": aiSDK((apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey })(model)),
  "npm ai, openai (chat)": aiSDK((apiKey) => createOpenAI({ baseURL: `${base}/v1`, apiKey }).chat(model)),
  "npm ai, anthropic": aiSDK((apiKey) => createAnthropic({ baseURL: `${base}/v1`, apiKey })(model)),
  "npm ai, google": aiSDK((apiKey) => createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey })(model)),
  "npm ai, openai-compatible": aiSDK((apiKey) => createOpenAICompatible({ name: "latchkey", baseURL: `${base}/v1`, apiKey, includeUsage: true })(model)),
  "npm @langchain/openai": langchain(
    (apiKey) => new ChatOpenAI({ model, apiKey, maxRetries: 0, maxTokens: most, configuration: { baseURL: `${base}/v1` } }),
    (m) => m.response_metadata.finish_reason,
  ),
  "npm @langchain/anthropic": langchain(
    (apiKey) => new ChatAnthropic({ model, apiKey, maxRetries: 0, maxTokens: most, anthropicApiUrl: base }),
    (m) => m.response_metadata.stop_reason ?? m.additional_kwargs.stop_reason,
  ),
};

const out = {};
for (const [name, run] of Object.entries(clients)) {
  if (!keys[name]) throw new Error(`no key for ${name}`);
  try {
    const [text, finish] = await run(keys[name]);
    out[name] = { length: text.length, finish };
  } catch (e) {
    out[name] = { error: String(e?.stack ?? e).slice(0, 600) };
  }
}
process.stdout.write("\n" + JSON.stringify(out) + "\n");
