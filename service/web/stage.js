// One video on the stage: how far it is, what it looks like so far, the choice of its keyframe, its code.

import { key } from "./api.js";
import { el, make, offerCopy, rows } from "./page.js";
import * as receipt from "./receipt.js";
import { snippet, unsaid } from "./snippets.js";

const STAGES = {
  text_to_image: "painting the keyframe", image_to_video: "making it move", text_to_video: "making it move",
  encode: "encoding", upload: "storing",
};
const OVER = new Set(["succeeded", "failed", "cancelled", "expired"]);

let shown = null; // the video on the stage
let drawn = ""; // what the screen holds: links change with every look, pictures do not
let kind = "curl";
let facing = false;

export const over = (video) => OVER.has(video.state);
export const current = () => shown;

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function doing(video) {
  if (video.cancel_requested) return "stopping…";
  if (video.state === "queued") {
    const { ahead, eta_p50_seconds: eta } = video.queue || {};
    const place = ahead ? `${ahead} before it` : "next in line";
    return `waiting, ${place}${eta == null ? "" : `, about ${Math.ceil(eta)} s to go`}`;
  }
  if (video.state === "awaiting_approval") return "waits for you";
  const stage = STAGES[video.stage] || "starting";
  return video.steps ? `${stage}, step ${video.step} of ${video.steps}` : stage;
}

function screen(video) {
  const { video_link: film, image_link: image, thumbnail_link: poster } = video.urls;
  const what = `${video.id} ${film ? "film" : image ? "image" : video.state}`;
  if (what === drawn || (drawn === `${video.id} preview` && video.state === "running")) return;
  drawn = what;
  if (film) {
    const player = make("video", { src: film, poster: poster || "", loop: true, muted: true, controls: true, playsInline: true, autoplay: !calm() });
    player.setAttribute("aria-label", video.prompt);
    el("screen").replaceChildren(player);
  } else if (image) {
    el("screen").replaceChildren(make("img", { src: image, alt: `The keyframe: ${video.prompt}` }));
  } else if (video.state === "awaiting_approval") {
    enlarge();
  } else {
    const said = video.error ? video.error.message : "The keyframe comes first.";
    el("screen").replaceChildren(make("p", { textContent: said }));
  }
}

/** The candidate that is picked, as large as the video will be. */
function enlarge() {
  const { src, alt } = el("candidates").querySelector(":checked + img");
  el("screen").replaceChildren(make("img", { src, alt }));
}

function choice(video) {
  const open = video.state === "awaiting_approval";
  el("choice").hidden = !open;
  if (!open || el("candidates").dataset.of === video.id) return;
  el("candidates").dataset.of = video.id;
  el("candidates").replaceChildren(
    ...video.gate.candidates.map(({ index, seed, link }) => {
      const label = make("label");
      const radio = make("input", { type: "radio", name: "candidate", value: index, checked: index === 0 });
      label.append(radio, make("img", { src: link, alt: `Keyframe ${index + 1}` }), make("span", { textContent: `seed ${seed}` }));
      return label;
    }),
  );
  el("candidates").querySelector("input").focus({ preventScroll: true });
}

function facts(video) {
  const usage = video.usage || {};
  const told = [
    ["state", video.error ? `${video.state}: ${video.error.message}` : video.state], ["seed", video.seed], ["size", `${video.size}, ${video.num_frames} frames at ${video.fps}/s`],
    ["sampling", `${video.num_inference_steps} steps of ${video.sampler}, guidance ${video.guidance_scale}, γ ${video.gamma}`],
  ];
  if (usage.seconds) told.push(["took", `${usage.seconds.toFixed(1)} s, ${Math.round(usage.bytes / 1024)} KiB`]);
  told.push(["id", video.id]);
  rows(el("facts"), told);
}

function share() {
  if (!shown) return;
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  el("snippet").textContent = snippet(kind, shown, base, Boolean(key.get()));
  el("snippet-note").textContent = unsaid(shown);
}

/** One stop for Tab; arrows go from one to the next, as everywhere. */
function tabs() {
  const all = [...document.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    kind = tab.id.slice("tab-".length);
    for (const each of all) Object.assign(each, { ariaSelected: String(each === tab), tabIndex: each === tab ? 0 : -1 });
    el("snippet").setAttribute("aria-labelledby", tab.id);
    share();
  };
  for (const [index, tab] of all.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", ({ key: pressed }) => {
      const step = { ArrowRight: 1, ArrowLeft: all.length - 1 }[pressed];
      if (!step) return;
      const next = all[(index + step) % all.length];
      choose(next);
      next.focus();
    });
  }
  choose(all[0]);
}

/** Draw `video`; called again with every look at it. */
export function show(video) {
  if (shown?.id !== video.id) refuse(null);
  shown = video;
  el("stage").removeAttribute("data-gone");
  open();
  el("title").textContent = video.prompt;
  choice(video);
  screen(video);
  el("progress").hidden = over(video);
  el("progress").querySelector("progress").value = video.progress;
  const words = doing(video);
  if (el("doing").textContent !== words) el("doing").textContent = words;
  el("warnings").replaceChildren(...video.warnings.map((text) => make("li", { textContent: text })));
  el("replay").hidden = !video.urls.video_link;
  el("cancel").hidden = over(video) || video.cancel_requested;
  el("again").hidden = !over(video);
  el("download").hidden = !video.urls.video_link;
  if (video.urls.video_link) Object.assign(el("download"), { href: video.urls.video_link, download: `${video.id}.mp4` });
  facts(video);
  receipt.show(video);
  share();
  // In the next frame: what lies above the view has just grown, and the browser still scrolls to make up for that.
  if (facing) requestAnimationFrame(() => el("screen").scrollIntoView({ block: "nearest" }));
  facing = false;
}

/** Why something that was asked of the video on the stage was refused; null takes it away. */
function refuse(error) {
  el("refusal").hidden = !error;
  el("refusal").textContent = error ? error.message : "";
}

/** The button asks once at a time, and what is refused stands beside it. */
async function act(button, ask) {
  refuse(null);
  button.disabled = true;
  await ask().catch(refuse);
  button.disabled = false;
}

/** What the video looks like so far; its film takes this one's place. */
export function preview({ id, shows, step, steps, frames, picture }) {
  if (shown?.id !== id || shown.state !== "running" || (frames > 1 && calm())) return;
  if (drawn !== `${id} preview`) {
    const figure = make("figure");
    figure.append(make("img"), make("figcaption"));
    el("screen").replaceChildren(figure);
    drawn = `${id} preview`;
  }
  const what = shows === "picture" ? "the keyframe so far" : "so far";
  const words = shows === "keyframe" ? "the keyframe" : `${what}, behind step ${step} of ${steps}`;
  Object.assign(el("screen").querySelector("img"), { src: picture, alt: `${shown.prompt}: ${words}` });
  el("screen").querySelector("figcaption").textContent = words;
}

/** The next one that is shown comes into sight: on a phone the stage lies below the form, the gallery below both. */
export function face() {
  facing = true;
}

function open() {
  el("empty").hidden = true;
  el("stage").hidden = false;
}

/** Instead of a picture. Without the `id` of the video on the stage nothing of that is left to see or press. */
export function say(sentence, id) {
  drawn = "";
  if (shown?.id !== id) shown = null;
  el("stage").toggleAttribute("data-gone", !shown);
  el("screen").replaceChildren(make("p", { textContent: sentence, role: "alert" }));
  open();
}

/** `onCancel`, `onChoose` and `onReproduce` ask the service, and reject with its refusals. */
export function begin({ onCancel, onChoose, onReproduce, onAgain }) {
  el("cancel").addEventListener("click", () => act(el("cancel"), () => onCancel(shown)));
  el("reproduce").addEventListener("click", () => act(el("reproduce"), () => onReproduce(shown)));
  el("again").addEventListener("click", () => onAgain(shown));
  el("candidates").addEventListener("change", enlarge);
  el("choice").addEventListener("submit", (event) => {
    event.preventDefault();
    const candidate = Number(new FormData(el("choice")).get("candidate"));
    act(event.submitter || el("take"), () => onChoose(shown, candidate));
  });
  el("replay").addEventListener("click", () => {
    const player = el("screen").querySelector("video");
    player.currentTime = 0;
    player.play();
  });
  tabs();
  offerCopy(el("copy"), () => el("snippet").textContent, el("snippet"));
  receipt.begin();
}
