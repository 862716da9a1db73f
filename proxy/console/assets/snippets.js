/** A request as others would make it: curl, and Python with OpenAI's own package. */

/** @typedef {import("./types.js").RequestRecord} RequestRecord */

/**
 * @typedef {{gateway: string, route: string, headers: Record<string, string>, key: string | null,
 *   fields: [string, string][], file: string}} Call `key` is the name of the variable that holds the key
 */

/** The line that makes a first request. @param {string} gateway */
export function firstRequest(gateway) {
  const call = { gateway, route: "transcriptions", headers: {}, key: null, file: "speech.wav" };
  return curl({ ...call, fields: [["model", "whisper-1"]] });
}

/**
 * Return the call that a record was. Its audio is not kept, so its name stands for it.
 * @param {RequestRecord} record @param {string} gateway
 */
export function callOf(record, gateway) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (record.config) headers["x-portkey-config"] = record.config;
  else if (record.provider) headers["x-portkey-provider"] = record.provider;
  /** @type {[string, string][]} */
  const fields = [["model", record.model_requested ?? "whisper-1"]];
  if (record.response_format) fields.push(["response_format", record.response_format]);
  if (record.language) fields.push(["language", record.language]);
  if (record.stream) fields.push(["stream", "true"]);
  const key = record.key_name ? "AUDIOGATE_API_KEY" : keyName(record.provider);
  return { gateway, route: record.route, headers, key, fields, file: record.audio.filename ?? "speech.wav" };
}

/** The variable that usually holds a provider's key: `openai` → `OPENAI_API_KEY`. @param {string | null} provider */
export function keyName(provider) {
  const name = (provider ?? "").toUpperCase().replace(/[^A-Z0-9]+/g, "_");
  return `${name || "PROVIDER"}_API_KEY`;
}

/** @param {Call} call */
export function curl({ gateway, route, headers, key, fields, file }) {
  const lines = [`curl ${gateway}/v1/audio/${route}`];
  if (key) lines.push(`-H "Authorization: Bearer $${key}"`);
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (route === "speech") {
    const body = { ...Object.fromEntries(fields), voice: "alloy", input: "Hello." };
    return [...lines, "-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`].join(" \\\n  ");
  }
  for (const [name, value] of fields) lines.push(`-F ${quoted(`${name}=${value}`)}`);
  if (fields.some(([name, value]) => name === "stream" && value === "true"))
    lines[0] = lines[0].replace("curl", "curl -N");
  lines.push(`-F ${quoted(`file=@${file}`)}`);
  return lines.join(" \\\n  ");
}

/** @param {Call} call */
export function python({ gateway, route, headers, key, fields, file }) {
  const options = fields.map(([name, value]) => `    ${name}=${value === "true" ? "True" : literal(value)},`);
  const stream = fields.some(([name]) => name === "stream");
  const text = fields.some(([name, value]) => name === "response_format" && ["text", "srt", "vtt"].includes(value));
  const given = Object.entries(headers).map(([name, value]) => `        ${literal(name)}: ${literal(value)},`);
  const show = stream
    ? [
        "for event in reply:",
        '    if event.type == "transcript.text.delta":',
        '        print(event.delta, end="", flush=True)',
      ]
    : [text ? "print(reply)" : "print(reply.text)"];
  return [
    key ? "import os\n\nfrom openai import OpenAI" : "from openai import OpenAI",
    "",
    "client = OpenAI(",
    `    base_url=${literal(`${gateway}/v1`)},`,
    `    api_key=${key ? `os.environ[${literal(key)}]` : '"none"'},`,
    ...(given.length ? ["    default_headers={", ...given, "    },"] : []),
    ")",
    `reply = client.audio.${route}.create(`,
    `    file=open(${literal(file)}, "rb"),`,
    ...options,
    ")",
    ...show,
    "",
  ].join("\n");
}

/** A word for a shell, in single quotes. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A string for Python: JSON's escapes are among its own. @param {string} text */
function literal(text) {
  return JSON.stringify(text);
}
