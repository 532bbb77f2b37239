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
export const estimate = async (wish, signal) => (await ask("POST", "videos/estimate", { json: wish, signal })).body;

/** A picture makes the request a form; everything else is the same. */
export async function create(wish, picture) {
  if (!picture) return (await ask("POST", "videos", { json: wish })).body;
  const form = new FormData();
  for (const [name, value] of Object.entries(wish)) form.append(name, value);
  form.append("fit", "cover");
  form.append("input_reference", picture, picture.name);
  return (await ask("POST", "videos", { form })).body;
}
