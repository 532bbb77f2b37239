// The request of a video as code that anybody can run: curl, OpenAI's Python client, fetch.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const ours = (wish) => Object.fromEntries(Object.entries(wish).filter(([name]) => !["prompt", "model", "size", "seconds"].includes(name)));
const python = (value) => (typeof value === "string" ? JSON.stringify(value) : String(value));

/** What was asked, with the seed that was drawn: whoever runs it gets the same video, but for what `unsaid` says. */
export function wishOf(video) {
  const wish = {
    prompt: video.prompt, model: video.model, size: video.size, num_frames: video.num_frames, fps: video.fps,
    seed: video.seed, num_inference_steps: video.num_inference_steps, guidance_scale: video.guidance_scale,
    gamma: video.gamma, sampler: video.sampler,
  };
  if (video.negative_prompt) wish.negative_prompt = video.negative_prompt;
  return wish;
}

/** Whether `video` begins with a picture that the model did not paint for it. */
export function pictured(video) {
  const keyframe = video.receipt?.keyframe;
  return Boolean(keyframe ? keyframe.origin !== "painted" : video.fit || video.extended_from_video_id);
}

/** Why the code of `video` does not make the same one; empty where it does. */
export function unsaid(video) {
  const keyframe = video.receipt?.keyframe;
  const picture = pictured(video);
  const chosen = keyframe ? keyframe.seed !== video.seed : video.gate;
  const whole = keyframe ? " Reproduce makes the same video." : "";
  if (picture) return `The video begins with a picture that this code does not send.${whole}`;
  return chosen ? `This code lets nobody choose a keyframe: it takes the first.${whole}` : "";
}

export function snippet(kind, video, base, withKey) {
  const wish = wishOf(video);
  const body = JSON.stringify(wish, null, 2);
  if (kind === "curl") {
    const auth = withKey ? ` \\\n  -H "authorization: Bearer $MICROCINEMA_API_KEY"` : "";
    return `curl -s ${base}/videos -H 'content-type: application/json'${auth} \\\n  -d ${quoted(body)}`;
  }
  if (kind === "python") {
    const extra = Object.entries(ours(wish)).map(([name, value]) => `        "${name}": ${python(value)},\n`);
    const secret = withKey ? `os.environ["MICROCINEMA_API_KEY"]` : `"none"`;
    return `${withKey ? "import os\n" : ""}from openai import OpenAI  # pip install openai

client = OpenAI(base_url="${base}/v1", api_key=${secret})
video = client.videos.create_and_poll(
    prompt=${python(wish.prompt)},
    model=${python(wish.model)},
    size=${python(wish.size)},
    extra_body={
${extra.join("")}    },
)
client.videos.download_content(video.id).write_to_file("video.mp4")`;
  }
  const auth = withKey ? `, authorization: \`Bearer \${process.env.MICROCINEMA_API_KEY}\`` : "";
  return `const answer = await fetch("${base}/videos", {
  method: "POST",
  headers: { "content-type": "application/json"${auth} },
  body: JSON.stringify(${body.replaceAll("\n", "\n  ")}),
});
console.log(await answer.json());`;
}
