// How a finished video came to be, and what came of making one again.

import { el, make, offerCopy, rows } from "./page.js";

const ORIGINS = { upload: "a picture of yours", remix: "the picture of", extend: "the last frame of" };
const STAGES = { text_to_image: "picture", image_to_video: "motion", text_to_video: "video" };
const CHANGED = { weight_hash: "weights", device_class: "device", resumed_after: "where it was gone on with" };

let shown = null; // the receipt in the disclosure

function keyframe({ origin, seed, taken_from: source }) {
  return origin === "painted" ? `painted from seed ${seed}` : [ORIGINS[origin] || origin, source].filter(Boolean).join(" ");
}

function sampling({ sampler, steps, guidance_scale: guidance, dtype }) {
  return `${steps} steps${sampler ? ` of ${sampler}` : ""}, guidance ${guidance}, ${dtype}`;
}

function lines(receipt) {
  const { batch, resumed_after: resumed } = receipt;
  const told = [["seed", receipt.seed]];
  if (receipt.keyframe) told.push(["keyframe", keyframe(receipt.keyframe)]);
  for (const [stage, part] of Object.entries(receipt.stages)) told.push([STAGES[stage] || stage, sampling(part)]);
  if (receipt.gamma) told.push(["noise prior", `γ ${receipt.gamma}`]);
  told.push(["weights", `${receipt.model} ${receipt.weight_hash}`], ["device", receipt.device_class]);
  told.push(["batch", batch === 1 ? "alone" : `with ${batch - 1} other${batch > 2 ? "s" : ""}`]);
  if (resumed) told.push(["gone on", `after ${resumed} steps of an earlier try`]);
  told.push(["versions", Object.entries(receipt.versions).map((pair) => pair.join(" ")).join(", ")]);
  told.push(["frames", `sha256 ${receipt.frame_digest}`]);
  return told;
}

const decibels = (psnr) => (psnr >= 150 ? ", though the stored files decode alike" : `: ${psnr.toFixed(1)} dB apart`);

/** What came of a repetition, as sentences. */
export function words({ verdict, psnr_db: psnr, changed, reason }) {
  const apart = psnr == null ? "" : decibels(psnr);
  const others = changed.map((name) => CHANGED[name] || name.replace(/^(versions|stages)\./, "")).join(", ");
  const told = verdict === "equal" ? "Equal: every frame is the same." : `Not equal${apart}.`;
  const why = verdict === "incomparable" && reason ? ` This proves nothing: ${reason}.` : "";
  return `${told}${why}${others ? ` Changed since: ${others}.` : ""}`;
}

function comparison(video) {
  if (video.reproduction) return words(video.reproduction);
  if (video.state === "succeeded") return "Nobody has compared them: a worker of an earlier version made it.";
  return ["failed", "cancelled", "expired"].includes(video.state) ? "Nothing came of making it again." : "Making it again, to compare the frames.";
}

/** Draw what belongs to `video`; called again with every look at it. */
export function show(video) {
  const source = video.reproduces_video_id;
  const told = source ? comparison(video) : "";
  const drawn = `${video.id} ${told}`;
  if (el("comparison").dataset.of !== drawn) {
    el("comparison").dataset.of = drawn;
    el("comparison").dataset.verdict = video.reproduction?.verdict || "";
    const original = make("a", { href: `#${source}`, textContent: "Show the original" });
    el("comparison").replaceChildren(...(source ? [make("strong", { textContent: told }), " ", original] : []));
  }
  el("receipt").hidden = !video.receipt;
  el("reproduce").hidden = !video.receipt;
  if (!video.receipt || shown?.of === video.id) return;
  shown = { of: video.id, receipt: video.receipt };
  rows(el("receipt-lines"), lines(video.receipt));
  el("receipt-json").hidden = true;
}

export function begin() {
  offerCopy(el("copy-receipt"), () => JSON.stringify(shown.receipt, null, 2), el("receipt-json"));
}
