// Makes the known answers of the legacy cipher with Node's crypto: an
// implementation that shares nothing with the Go one. Fixed keys and nonces, so
// that the output is always the same: node vectors.mjs > vectors.json
import { createCipheriv, createHash } from "node:crypto";

const bytes = (label, n) => createHash("sha256").update(label).digest().subarray(0, n);
const key = bytes("latchkey legacy cipher test key", 32);

const plain = {
  "one byte": Buffer.from("x"),
  "oauth token": Buffer.from("ya29.a0AfH6SMBx-not-a-real-token_0123456789"),
  "trailing newline": Buffer.from("smtp-password\n"),
  "json with key order": Buffer.from('{"z":1,"a":{"refresh_token":"r","access_token":"a"},"m":[1.0,2e3]}'),
  "composed": Buffer.from("Z\u00fcrich", "utf8"),
  "decomposed": Buffer.from("Zu\u0308rich", "utf8"),
  "astral": Buffer.from("\u{1F511}\u{1F9EA}", "utf8"),
  "control bytes": Buffer.from("a\u0000b\r\nc\td"),
  "hexadecimal plaintext": Buffer.from("0123456789abcdef".repeat(4)),
  "long": Buffer.from("0123456789".repeat(400)),
};

const vectors = Object.entries(plain).map(([name, text]) => {
  const nonce = bytes("nonce " + name, 12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  const ct = Buffer.concat([cipher.update(text), cipher.final()]);
  return { name, plain_base64: text.toString("base64"), nonce: nonce.toString("hex"),
    stored: nonce.toString("hex") + cipher.getAuthTag().toString("hex") + ct.toString("hex") };
});
console.log(JSON.stringify({ key_base64: key.toString("base64"), vectors }, null, 1));
