// Streams an answer that the vendor breaks off, with official SDKs, unchanged, and
// prints for each what text had come and what its error says, as one JSON object.
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { streamText } from "ai";
import OpenAI from "openai";

const base = process.env.BASE_URL;
const apiKey = process.env.API_KEY;
const ask = process.env.ASK;
const messages = [{ role: "user", content: ask }];
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: base, apiKey, maxRetries: 0 });
const google = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: base } });

// shown is all that a caller can read of an error.
const shown = (e) => `${e?.message ?? ""} ${JSON.stringify(e)} ${JSON.stringify(e?.error ?? null)}`;

const vercel = async (model, say) => {
  const r = streamText({ model, prompt: ask, maxRetries: 0, onError: () => {} });
  for await (const part of r.fullStream) {
    if (part.type === "text-delta") say(part.text);
    if (part.type === "error") throw part.error;
  }
};

const clients = {
  async "npm openai, chat completions"(say) {
    const s = await openai.chat.completions.create({ model: "openrouter/sim-chat", max_tokens: 1000, messages, stream: true });
    for await (const c of s) say(c.choices[0]?.delta?.content ?? "");
  },
  async "npm openai, responses"(say) {
    const s = await openai.responses.create({ model: "openrouter/sim-chat", max_output_tokens: 1000, input: ask, store: false, stream: true });
    for await (const ev of s) if (ev.type === "response.output_text.delta") say(ev.delta);
  },
  async "npm @anthropic-ai/sdk"(say) {
    const s = await anthropic.messages.create({ model: "anthropic/sim-chat", max_tokens: 1000, messages, stream: true });
    for await (const ev of s) if (ev.type === "content_block_delta") say(ev.delta.text);
  },
  async "npm @google/genai"(say) {
    const s = await google.models.generateContentStream({ model: "gemini/sim-chat", contents: ask, config: { maxOutputTokens: 1000 } });
    for await (const c of s) say(c.text ?? "");
  },
  "npm ai, openai (chat)": (say) => vercel(createOpenAI({ baseURL: `${base}/v1`, apiKey }).chat("openrouter/sim-chat"), say),
  "npm ai, openai (responses)": (say) => vercel(createOpenAI({ baseURL: `${base}/v1`, apiKey })("openrouter/sim-chat"), say),
  "npm ai, anthropic": (say) => vercel(createAnthropic({ baseURL: `${base}/v1`, apiKey })("anthropic/sim-chat"), say),
  "npm ai, google": (say) => vercel(createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey })("gemini/sim-chat"), say),
};

const out = {};
for (const [name, run] of Object.entries(clients)) {
  let text = "";
  try {
    await run((t) => (text += t));
    out[name] = { text, error: "" };
  } catch (e) {
    out[name] = { text, error: shown(e) };
  }
}
console.log(JSON.stringify(out));
