// Calls of the Node SDKs, driven by tests/sdks/driver.py over stdin and stdout: one JSON object per line, one answer each.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import * as buffer from "node:buffer";

globalThis.File ??= buffer.File; // Node 18 has it, but not as a global

const { default: OpenAI, toFile } = await import("openai");
const { default: portkey } = await import("portkey-ai");
const Portkey = portkey.Portkey ?? portkey;

// An open file is uploaded as it is read; a buffer has a length that is known beforehand.
const fileOf = ({ path, as }) =>
  as === "stream" ? createReadStream(path) : readFile(path).then((bytes) => toFile(bytes, basename(path)));

// The form's parts follow the order of the object's keys.
async function bodyOf({ file, fields = {} }) {
  if (!file) return fields;
  const part = { file: await fileOf(file) };
  return file.place === "first" ? { ...part, ...fields } : { ...fields, ...part };
}

async function send(request, body) {
  const options = { headers: request.headers };
  if (request.sdk === "portkey") {
    const client = new Portkey(request.client);
    const { audio } = client;
    const calls = {
      transcribe: () => audio.transcriptions.create(body, undefined, options),
      translate: () => audio.translations.create(body, undefined, options),
      speak: () => audio.speech.create(body, undefined, options),
    };
    const data = await calls[request.call]();
    return { data, headers: data.getHeaders?.() ?? {} };
  }
  const client = new OpenAI(request.client);
  const calls = {
    transcribe: () => client.audio.transcriptions.create(body, options),
    translate: () => client.audio.translations.create(body, options),
    speak: () => client.audio.speech.create(body, options),
    models: () => client.models.list(options),
  };
  const { data, response } = await calls[request.call]().withResponse();
  return { data, headers: Object.fromEntries(response.headers) };
}

async function plain(request, data) {
  if (request.call === "speak") {
    const bytes = Buffer.from(await data.arrayBuffer());
    return { length: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }
  if (request.fields?.stream) {
    const events = [];
    for await (const event of data) events.push(event);
    return events;
  }
  return data;
}

async function answer(request) {
  try {
    const { data, headers } = await send(request, await bodyOf(request));
    return { value: await plain(request, data), headers };
  } catch (error) {
    const { status, message, code, param, type } = error;
    return { error: { class: error.constructor.name, status, message, code, param, type } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + "\n");
}
process.exit(0); // idle connections would keep it alive
