// Drives the official OpenAI SDK, unchanged, against a running stack and prints
// what it saw as one JSON object.
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const model = process.env.CHAT_MODEL;
const messages = [{ role: "user", content: "from the Node SDK" }];
const out = {};

const whole = await client.chat.completions.create({ model, messages });
out.whole = whole.choices[0].message.content;

out.streamed = "";
const stream = await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  out.streamed += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) out.usage = chunk.usage.total_tokens;
}

const tool = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "please use tool" }],
  tools: [{ type: "function", function: { name: "lookup", parameters: { type: "object", properties: { value: { type: "string" } } } } }],
});
out.tool = tool.choices[0].message.tool_calls[0].function.arguments;

const listed = await client.models.list();
out.listed = listed.data.some((m) => m.id === model);

try {
  await new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "lk_nobody_k_x", maxRetries: 0 }).models.list();
} catch (e) {
  out.unauthorized = `${e.status} ${e.code}`;
}

const speech = await client.audio.speech.create({ model: process.env.VOICE_MODEL, voice: "alloy", input: "hello", response_format: "wav" });
const audio = Buffer.from(await speech.arrayBuffer());
out.spoken = audio.length > 1000 && audio.subarray(0, 4).toString() === "RIFF";

const transcript = await client.audio.transcriptions.create({ model: process.env.VOICE_MODEL, file: await toFile(audio, "hello.wav") });
out.transcript = transcript.text;

console.log(JSON.stringify(out));
