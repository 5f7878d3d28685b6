// Makes the known answers of the vendors that publish none, with Node's crypto and from
// the vendors' own documents (the pages are named in profiles.go, all read 2026-11): an
// implementation that shares nothing with the Go one. Fixed keys and times, so that the
// output is always the same: node vectors.mjs > vectors.json
//
// vectors.json is what counts. Whoever changes a recipe in Go and again in Node still has
// those bytes against them; make them anew only for a vendor that changed its signature.
// On 2026-11-23 the verifiers of npm's stripe 23.1.0, @shopify/shopify-api 13.1.0,
// @elevenlabs/elevenlabs-js 2.73.0, @hubspot/api-client 13.5.0 (which wants the URL
// decoded) and discord-interactions 4.4.0 took theirs and refused them with a byte more.
import { createHash, createHmac, createPrivateKey, createPublicKey, sign } from "node:crypto";

const at = 1772600767; // 2026-03-04T05:06:07Z
const body = '{"text":"gr\u00f6\u00dfer \u{1F600}"}';
const text = "a signing secret", raw = Buffer.from("bytes of a key: \u00ff\u0000", "latin1");
const mac = (digest, key, encoding, ...parts) => parts.reduce((h, p) => h.update(p), createHmac(digest, key)).digest(encoding);
const basic = (user) => ({ Authorization: "Basic " + Buffer.from(user).toString("base64") });

// The seed of RFC 8032, 7.1, test 2, in the frame that PKCS 8 has for such keys.
const seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
const pair = createPrivateKey({ key: Buffer.from("302e020100300506032b657004220420" + seed, "hex"), format: "der", type: "pkcs8" });
const edPublic = Buffer.from(createPublicKey(pair).export({ format: "jwk" }).x, "base64url").toString("hex");
const ed = (...parts) => sign(null, Buffer.from(parts.join("")), pair).toString("hex");

// Tokens made once by Node's RSA-SHA256; the private key was thrown away.
const n = "s3AhG79bdikg9AyJS6X8syyGLoQdqO-_1hDwq-PqusFUmxL1dtCk3SZIL6Jn7N-Wv3zhbx2GVa9aYzxvU5qxt-MtoO3PhcEIN1ehB98nzKbjQJtAHjA7E8ihz0v36HsdNhvVs-tzKK9D" +
  "mXNkCUhXXtatuEESCtcnAbSJaYzLt4goN1nTGlji8TpyeOxFeryX6I72kkPwPJsMalu-mXQ0Pu09VOTkBLVKgcXCGeVn8Cs-WGMSIuMHtZSCcGufcp6LMgfyhKOWCl7QrL-r36R1XGi1" +
  "3E3HghHzD_5ZWdjKPQbATQpT-4vZTt-umoMnSEEP_M0ltlGNzJSSdFqXgleqnw";
const tokens = {
  teams: "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2FwaS5ib3RmcmFtZXdvcmsuY29tIiwiYXVkIjoiYXBwLTEiLCJzZXJ2aWNldXJsIjoi" +
    "aHR0cHM6Ly9zbWJhLnRyYWZmaWNtYW5hZ2VyLm5ldC90ZWFtcy8iLCJpYXQiOjE3NzI2MDA3NjcsIm5iZiI6MTc3MjYwMDc2NywiZXhwIjoxNzcyNjA0MzY3fQ.ebOYR9aTpQ4rR1yMa" +
    "aiVeOiVZv3ufbtEPuIbnKiqf3sSGvV9W55as1TZpZMeeHcL_4EJKd8fdhQaTZ5CZ6KdJucr88OrjFqH1ZFC3PPMDMbySUhly7Bd4_uEr1BtRo7aq0MtgbLGUf7cjwm3Pb3dJSjc-H8At" +
    "_DOabn6R2mUcASzGPnYtooipBZQH8wsqmd3VmIPm8ZqOepe5xTUXiakSP0wFEKnGObyTH5tspqcuMl8zn5TmJlnhGscfxvo1c93FUknDpQOpQu28QPDPmEFoT-m74U1A9HXxrB41s45x" +
    "k9Kjas7GZjJDSfacDLmXJzTNTFRhg2nzB1TxCbeC5OQGg",
  url: "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.eyJpc3MiOiJodHRwczovL2FjY291bnRzLmdvb2dsZS5jb20iLCJhdWQiOiJodHRwczovL2hvb2tzLmV4YW1wbGUv" +
    "aW4iLCJlbWFpbCI6ImNoYXRAc3lzdGVtLmdzZXJ2aWNlYWNjb3VudC5jb20iLCJlbWFpbF92ZXJpZmllZCI6dHJ1ZSwiaWF0IjoxNzcyNjAwNzY3LCJuYmYiOjE3NzI2MDA3NjcsImV4" +
    "cCI6MTc3MjYwNDM2N30.CUK6tLczc5wdA6Yd5Z3BJBg7szPWI1MzNQXCXlvQ5hTq_4c2IMDSpt8tH069DRQ7Yz3N_BwbQdnQIidoJkgMCZEbG_szpI3do1hbUYf0cwTi2nWS8pjOSfea" +
    "UZPE3US2gzlK_6HO3j0AFuFwH9JfUR03UMjB-rmx0ZemrBfkxcY7NiCIZcSMDgeJlYwojYEFAUTcJ0DrhsPtp_WFMUwPX9K69ixPJNN27gQLZ9m9MFrAGZS79NkRzpD1LAJSjJoQSNpL" +
    "iStGcPLUWwKMj4b5Zlk0kdevQ__Dyv0QCHTeQMXMBIR-87z4dFGqWccIzbXwmXiZpVJlAjB9VYRUIo4Krg",
  number: "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.eyJpc3MiOiJjaGF0QHN5c3RlbS5nc2VydmljZWFjY291bnQuY29tIiwiYXVkIjoiMTIzNDU2Nzg5MCIsImlhdCI6" +
    "MTc3MjYwMDc2NywibmJmIjoxNzcyNjAwNzY3LCJleHAiOjE3NzI2MDQzNjd9.R1iMbTl4f6nRfgpql0xRF2qFiU80P_qw6VIVw9UfWVlOCKN1UAJ9ciYITdxwO92KHtnIgEMEWrsHqEw" +
    "D_pEiJ61yR7KdBS57l_QEYsDEeqj-HqWKxYrMvrSUtniCdv4snZJxJRxOF_KrMsJYj6P6u6FRio_1SDXOD4OaMRAk6AqrlR94W32uXRIWfr7i8jT7YowSiqWIm-8OHtcpO07nT340-SD" +
    "YFaX0AQA67ZheShlYH3F26I_CC8sdi6JbKBlziysb5h287un234kgxClYgNOAmimQBb11hnBYm444qx5IE63FWsgFiDPe7iYBfCu3QsKNw8m-FkayMfKIIMANng",
};
const bearer = (token, set, more) => ({ headers: { Authorization: "Bearer " + token }, keys: { set, n, endorsements: ["msteams"] }, ...more });

const hubspotURL = "https://hooks.example/in?to=%3A%2F%40&name=a%20b";
const activity = '{"channelId":"msteams","serviceUrl":"https://smba.trafficmanager.net/teams/","text":"gr\u00f6\u00dfer"}';
const falHead = { "X-Fal-Webhook-Request-Id": "r1", "X-Fal-Webhook-User-Id": "u1", "X-Fal-Webhook-Timestamp": String(at) };
const token = "c6b5a5e7d0f94d1b9b1a2c3d4e5f60718293a4b5c6d7e8f901";

const vectors = [
  { profile: "meta", key: text, covered: true, headers: { "X-Hub-Signature-256": "sha256=" + mac("sha256", text, "hex", body) } },
  { profile: "line", key: text, covered: true, headers: { "X-Line-Signature": mac("sha256", text, "base64", body) } },
  { profile: "shopify", key: text, covered: true, headers: { "X-Shopify-Hmac-Sha256": mac("sha256", text, "base64", body) } },
  { profile: "teams_outgoing", key: raw.toString("base64"), covered: true, headers: { Authorization: "HMAC " + mac("sha256", raw, "base64", body) } },
  { profile: "intercom", key: text, covered: true, headers: { "X-Hub-Signature": "sha1=" + mac("sha1", text, "hex", body) } },
  { profile: "zendesk", key: text, covered: true, headers: { "X-Zendesk-Webhook-Signature-Timestamp": "2026-03-04T05:06:07Z",
    "X-Zendesk-Webhook-Signature": mac("sha256", text, "base64", "2026-03-04T05:06:07Z", body) } },
  { profile: "hubspot", key: text, url: hubspotURL, covered: true, headers: { "X-HubSpot-Request-Timestamp": at + "000",
    "X-HubSpot-Signature-v3": mac("sha256", text, "base64", "POST", "https://hooks.example/in?to=:/@&name=a%20b", body, at + "000") } },
  { profile: "stripe", key: "whsec_" + text, covered: true, headers: { "Stripe-Signature":
    `t=${at},v0=${mac("sha256", "another", "hex", at + ".", body)},v1=${mac("sha256", "whsec_" + text, "hex", at + ".", body)}` } },
  { profile: "elevenlabs", key: "wsec_" + text, covered: true, headers: { "ElevenLabs-Signature": `t=${at},v0=${mac("sha256", "wsec_" + text, "hex", at + ".", body)}` } },
  { profile: "discord", config: { public_keys: [edPublic] }, covered: true, headers: { "X-Signature-Timestamp": String(at), "X-Signature-Ed25519": ed(at, body) } },
  { profile: "fal", config: { expected_user_id: ["u1"] }, keys: { set: "fal", ed25519: edPublic }, covered: true, headers: { ...falHead,
    "X-Fal-Webhook-Signature": ed("r1\nu1\n", at, "\n", createHash("sha256").update(body).digest("hex")) } },
  { profile: "telegram", key: "A-secret_token-1", headers: { "X-Telegram-Bot-Api-Secret-Token": "A-secret_token-1" } },
  { profile: "assemblyai", key: text, config: { header: ["X-My-Secret"] }, headers: { "X-My-Secret": text } },
  { profile: "deepgram", key: "user:pass:word", headers: basic("user:pass:word") },
  { profile: "postmark", key: "user:pass:word", headers: basic("user:pass:word") },
  { profile: "mailgun", key: text, body: JSON.stringify({ signature: { timestamp: String(at), token, signature: mac("sha256", text, "hex", String(at), token) }, "event-data": {} }), headers: {} },
  { profile: "teams_bot", ...bearer(tokens.teams, "teams_bot", { config: { audience: ["app-1"] }, body: activity }) },
  { profile: "google_chat", ...bearer(tokens.url, "google_chat_url", { config: { audience: ["https://hooks.example/in"] } }) },
  { profile: "google_chat", ...bearer(tokens.number, "google_chat_project_number", { config: { audience: ["1234567890"] } }) },
];
console.log(JSON.stringify(vectors.map((v) => ({ at, url: "https://hooks.example/in", body, ...v })), null, 1));
