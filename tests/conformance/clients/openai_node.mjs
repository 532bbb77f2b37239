// Runs beside a node_modules that holds `openai` and nothing of ours: every call of `client.videos`.
// `node openai_node.mjs DESCRIPTION.json` prints one JSON object: call -> {verdict, said}.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The package lies where the script is run, not where it is written.
const OpenAI = createRequire(`${process.cwd()}/here.js`)("openai");
const { toFile } = OpenAI;

const scene = JSON.parse(readFileSync(process.argv[2], "utf8"));
const asked = { prompt: "a red circle moves left", size: scene.size, seconds: scene.seconds };
const client = new OpenAI({ baseURL: scene.url, apiKey: "sk-never-for-the-bucket" });
const WAITERS = 6;
const TOO_LONG_MS = 120_000;

async function finished(id) {
  const deadline = Date.now() + TOO_LONG_MS;
  for (;;) {
    const video = await client.videos.retrieve(id);
    if (video.status === "completed") return video;
    assert.ok(["queued", "in_progress"].includes(video.status) && Date.now() < deadline, JSON.stringify(video));
    await new Promise((resume) => setTimeout(resume, 100));
  }
}

const made = async () => finished((await client.videos.create(asked)).id);

const download = (variant, begins, type) => async () => {
  const { id } = await made();
  const moved = new OpenAI({ baseURL: scene.redirecting_url, apiKey: "sk-never-for-the-bucket", maxRetries: 0 });
  const content = await moved.videos.downloadContent(id, { variant });
  assert.ok(content.redirected);
  assert.equal(content.headers.get("content-type"), type);
  const whole = Buffer.from(await content.arrayBuffer());
  assert.ok(whole.subarray(0, 12).includes(begins));
  const part = await moved.videos.downloadContent(id, { variant }, { headers: { range: "bytes=2-11" } });
  assert.equal(part.status, 206);
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), whole.subarray(2, 12));
};

const calls = {
  create: async () => {
    const video = await client.videos.create(asked);
    assert.deepEqual([video.object, video.size, video.seconds], ["video", scene.size, scene.seconds]);
  },
  "create as JSON": async () => {
    const video = await client.post("/videos", { body: asked });
    assert.equal(video.object, "video");
  },
  "create with input_reference": async () => {
    const picture = await toFile(Buffer.from(scene.picture, "base64"), "a.png", { type: "image/png" });
    await finished((await client.videos.create({ ...asked, input_reference: picture })).id);
  },
  retrieve: async () => {
    const video = await client.videos.create(asked);
    assert.equal((await client.videos.retrieve(video.id)).created_at, video.created_at);
  },
  "list, both ways": async () => {
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await client.videos.create(asked)).id);
    for (const [order, expected] of [["asc", ids], ["desc", [...ids].reverse()]]) {
      const walked = [];
      for await (const video of client.videos.list({ limit: 2, order })) walked.push(video.id);
      assert.equal(new Set(walked).size, walked.length);
      assert.deepEqual(walked.filter((id) => ids.includes(id)), expected);
    }
  },
  delete: async () => {
    const { id } = await made();
    assert.deepEqual(await client.videos.delete(id), { id, deleted: true, object: "video.deleted" });
    await assert.rejects(client.videos.retrieve(id), OpenAI.NotFoundError);
  },
  "download video": download("video", "ftyp", "video/mp4"),
  "download thumbnail": download("thumbnail", "WEBP", "image/webp"),
  "download spritesheet": download("spritesheet", Buffer.from([0xff, 0xd8]), "image/jpeg"),
  remix: async () => {
    const { id } = await made();
    const again = await client.videos.remix(id, { prompt: "a blue circle moves left" });
    assert.equal(again.remixed_from_video_id, id);
  },
  errors: async () => {
    await assert.rejects(client.videos.create({ prompt: "x", size: "1x1" }), (error) => {
      assert.ok(error instanceof OpenAI.UnprocessableEntityError && error.requestID);
      assert.deepEqual([error.code, error.param], ["invalid_fields", "size"]);
      return true;
    });
    await assert.rejects(client.videos.create({ prompt: "x", model: "no-such-model" }), OpenAI.UnprocessableEntityError);
    await assert.rejects(client.videos.retrieve(`video_${"0".repeat(24)}`), OpenAI.NotFoundError);
    await assert.rejects(client.post("/videos", { body: ["no object"] }), OpenAI.BadRequestError);
    const { id } = await made();
    await assert.rejects(client.post(`/videos/${id}/cancel`), OpenAI.ConflictError);
    const stranger = new OpenAI({ baseURL: scene.locked_url, apiKey: "sk-of-nobody" });
    await assert.rejects(stranger.videos.list(), OpenAI.AuthenticationError);
  },
  "429 retried": async () => {
    let tries = 0;
    const counting = (...call) => ((tries += 1), fetch(...call));
    const narrow = new OpenAI({ baseURL: scene.narrow_url, apiKey: "unused", maxRetries: 20, fetch: counting });
    const hasty = Array.from({ length: WAITERS }, () => narrow.videos.create(asked, { maxRetries: 0 }));
    const refusals = (await Promise.allSettled(hasty)).flatMap(({ reason }) => reason ?? []);
    assert.ok(refusals.length && refusals.every((error) => error instanceof OpenAI.RateLimitError), String(refusals));
    tries = 0;
    const videos = await Promise.all(Array.from({ length: WAITERS }, () => narrow.videos.create(asked)));
    assert.equal(new Set(videos.map((video) => video.id)).size, WAITERS);
    assert.ok(tries > WAITERS, "the queue was never full");
  },
  "webhook verified": async () => {
    const { body, headers, secrets, video_id } = scene.webhook; // in the middle of a rotation: both are good
    for (const secret of secrets) {
      const event = await client.webhooks.unwrap(body, headers, secret);
      assert.deepEqual([event.type, event.data.id], ["video.completed", video_id]);
      await assert.rejects(client.webhooks.unwrap(`${body} `, headers, secret), OpenAI.InvalidWebhookSignatureError);
    }
  },
  models: async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.ok(names.includes(scene.model));
    assert.equal((await client.models.retrieve(scene.model)).id, scene.model);
    await assert.rejects(client.models.retrieve("no-such-model"), OpenAI.NotFoundError);
  },
};

if (client.webhooks.rotateSecret) calls["webhook endpoints"] = async () => {
  const made = await client.webhooks.create({ name: "n", url: "http://127.0.0.1:1/hook", event_types: ["video.failed"] });
  const ids = [];
  for await (const endpoint of client.webhooks.list({ limit: 2 })) ids.push(endpoint.id);
  assert.ok(ids.includes(made.id));
  const changed = await client.webhooks.update(made.id, { event_types: ["video.completed"] });
  assert.deepEqual([changed.name, changed.event_types], ["n", ["video.completed"]]);
  const rotated = await client.webhooks.rotateSecret(made.id, { keep_old_secret_active_for_24_hours: true });
  assert.ok(rotated.signing_secret && rotated.signing_secret !== made.signing_secret);
  assert.equal((await client.webhooks.delete(made.id)).deleted, true);
  await assert.rejects(client.webhooks.retrieve(made.id), OpenAI.NotFoundError);
};

// A route or a variant that the service does not have is told from one that does not work.
const missing = (error) => error.code === "unknown_route" || (error.status === 422 && error.param === "variant");

const answers = {};
for (const [name, call] of Object.entries(calls)) {
  try {
    await call();
    answers[name] = { verdict: "pass", said: "" };
  } catch (error) {
    answers[name] = missing(error)
      ? { verdict: "route missing", said: `${error.status} ${error.code}` }
      : { verdict: "fail", said: `${error.name}: ${error.message}`.slice(0, 300) };
  }
}
console.log(JSON.stringify(answers));
