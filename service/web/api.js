// The HTTP API as the page speaks it: one place for the key, for JSON and for refusals.

const KEY = "microcinema.key";

/** A refused request: `message` is the gateway's own sentence, `faults` its fields (RFC 9457 `errors`). */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.faults = problem.errors || [];
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (secret) => (secret ? sessionStorage.setItem(KEY, secret) : sessionStorage.removeItem(KEY)),
};

/** Relative to the page, so that a gateway behind a prefix works. Resolves to the parsed body. */
export async function ask(method, path, { json, form, signal } = {}) {
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (json) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: json ? JSON.stringify(json) : form, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "the service does not answer" });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, body);
  return { body, pollAfter: Number(answer.headers.get("openai-poll-after-ms")) || 1000 };
}

const at = (id, rest = "") => `videos/${encodeURIComponent(id)}${rest}`;

export const models = async () => (await ask("GET", "models")).body.data;
export const list = async (after) => (await ask("GET", `videos?limit=12${after ? `&after=${after}` : ""}`)).body;
export const get = (id) => ask("GET", at(id));
export const cancel = async (id) => (await ask("POST", at(id, "/cancel"))).body;
export const approve = async (id, candidate) => (await ask("POST", at(id, "/approve"), { json: { candidate } })).body;
export const reproduce = async (id) => (await ask("POST", at(id, "/reproduce"))).body;
export const estimate = async (wish, signal) => (await ask("POST", "videos/estimate", { json: wish, signal })).body;

/** The picture that a video begins with, as a file to send again. */
export async function keyframe(id) {
  const headers = key.get() ? { authorization: `Bearer ${key.get()}` } : {};
  const answer = await fetch(at(id, "/content?variant=image"), { headers });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  const body = await answer.blob();
  return new File([body], `${id}.${body.type.replace("image/", "")}`, { type: body.type });
}

/**
 * The events of a video as they happen, over fetch because EventSource sends no key. The first one, `reset`, holds the
 * whole video. Resolves when the stream has ended.
 */
export async function follow(id, hear, signal) {
  const headers = { "last-event-id": "none" };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  const answer = await fetch(at(id, "/events"), { headers, signal, cache: "no-store" });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (!fields.data) continue;
      const said = JSON.parse(fields.data);
      hear(fields.event, fields.event === "reset" ? said : said.data);
    }
  }
}

/** A picture makes the request a form; everything else is the same. */
export async function create(wish, picture) {
  if (!picture) return (await ask("POST", "videos", { json: wish })).body;
  const form = new FormData();
  for (const [name, value] of Object.entries(wish)) form.append(name, value);
  form.append("fit", "cover");
  form.append("input_reference", picture, picture.name);
  return (await ask("POST", "videos", { form })).body;
}
