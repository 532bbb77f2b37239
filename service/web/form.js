// The form: its fields follow what the chosen model says that it can do (GET /models).

import { el, make } from "./page.js";

const form = el("wish");
const field = (name) => form.elements[name];
const gate = el("gate");
const MOST_CANDIDATES = 4;

const EXAMPLES = [
  "a red circle moving right on a white background",
  "a green star rotating on a black background",
  "a blue ring growing on a beige background",
];

let specs = new Map();

const spec = () => specs.get(field("model").value);

function options(select, values) {
  const before = select.value;
  select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
  if (values.some(([value]) => String(value) === before)) select.value = before;
}

function bound(name, bounds) {
  const input = field(name);
  Object.assign(input, { min: bounds.min, max: bounds.max, placeholder: bounds.default });
  input.title = `${bounds.min} to ${bounds.max}`;
}

/** Lengths that the model can make, at most a dozen of them; the default is always one. */
function lengths({ frames, fps }) {
  const step = frames.multiple_of;
  const all = [];
  for (let count = frames.min; count <= frames.max; count++) {
    if ((count - frames.offset) % step === 0) all.push(count);
  }
  const every = Math.ceil(all.length / 12);
  const some = all.filter((count, index) => index % every === 0 || count === frames.default);
  const rate = Number(field("fps").value) || fps.default;
  return some.map((count) => [count, `${count} frames, ${(count / rate).toFixed(1)} s`]);
}

function fit() {
  const now = spec();
  if (!now) return;
  options(field("size"), now.sizes.map(([width, height]) => [`${width}x${height}`, `${width} × ${height}`]));
  const chosen = field("num_frames").value;
  options(field("num_frames"), lengths(now));
  if (!chosen) field("num_frames").value = now.frames.default;
  options(field("sampler"), now.samplers.map((name) => [name, name]));
  bound("fps", now.fps);
  bound("num_inference_steps", now.steps);
  bound("guidance_scale", now.guidance_scale);
  bound("gamma", now.gamma);
  el("gamma-label").hidden = now.gamma.max === 0;
  el("negative-label").hidden = !now.negative_prompt;
  el("picture-label").hidden = !now.image_input;
  const paints = now.keyframe !== null && !now.image_required;
  gate.closest("label").hidden = !paints;
  el("picture-fields").hidden = !now.image_input && !paints;
  if (!paints) gate.checked = false;
  field("prompt").maxLength = now.prompt_max_chars;
  gateOrPicture();
}

/** A picture of one's own is the keyframe: there is nothing to choose then. */
function gateOrPicture() {
  const picture = field("input_reference").files.length > 0;
  gate.disabled = picture;
  if (picture) gate.checked = false;
  el("candidates-label").hidden = !gate.checked;
}

/** What is asked, without the fields that were left alone. */
export function wish() {
  const asked = { prompt: field("prompt").value.trim() };
  for (const name of ["model", "size", "sampler", "negative_prompt"]) {
    const now = field(name);
    if (now.value && !now.closest("[hidden]")) asked[name] = now.value;
  }
  for (const name of ["num_frames", "fps", "seed", "num_inference_steps", "guidance_scale", "gamma"]) {
    if (field(name).value !== "" && !field(name).closest("[hidden]")) asked[name] = Number(field(name).value);
  }
  if (gate.checked) Object.assign(asked, { pause_after: "image", candidates: Number(field("candidates").value) });
  return asked;
}

export const picture = () => field("input_reference").files[0] || null;

/** Everything as it was asked for `video`, the seed and the choice of a keyframe too; `attach` brings its picture. */
export function fill(video) {
  showFaults(null);
  attach(null);
  for (const name of ["prompt", "model", "size", "fps", "seed", "num_inference_steps", "guidance_scale", "gamma"]) {
    field(name).value = video[name];
  }
  field("negative_prompt").value = video.negative_prompt || "";
  fit();
  field("num_frames").value = video.num_frames;
  field("sampler").value = video.sampler;
  gate.checked = Boolean(video.gate) && !gate.closest("[hidden]");
  if (video.gate) field("candidates").value = video.gate.count;
  gateOrPicture();
  field("prompt").focus();
}

/** A file as if it had been chosen; null: none. */
export function attach(file) {
  const files = new DataTransfer();
  if (file) files.items.add(file);
  field("input_reference").files = files.files;
  gateOrPicture();
}

/** Whatever is wrong is in sight: a field may lie in a disclosure that is closed. */
const uncover = (now) => now.closest("details")?.setAttribute("open", "");

/** The fields at fault are marked, and the first one has the focus; the sentences stand above the button. */
export function showFaults(error) {
  for (const marked of form.querySelectorAll("[aria-invalid]")) {
    marked.removeAttribute("aria-invalid");
    marked.removeAttribute("aria-describedby");
  }
  const faults = error?.faults || [];
  const wrong = faults.map((fault) => field(fault.field)).filter((now) => now && !now.closest("[hidden]"));
  for (const now of wrong) {
    now.setAttribute("aria-invalid", "true");
    now.setAttribute("aria-describedby", "fault");
    uncover(now);
  }
  const said = el("fault");
  said.hidden = !error;
  said.textContent = error ? faults.map((fault) => fault.message).join("\n") || error.message : "";
  wrong[0]?.focus();
}

export function offer(models) {
  specs = new Map(models.map((model) => [model.id, model.spec]));
  options(field("model"), models.map((model) => [model.id, model.live_workers ? model.id : `${model.id} (no worker)`]));
  fit();
}

export function begin({ onSubmit, onChange }) {
  options(field("candidates"), Array.from({ length: MOST_CANDIDATES }, (_, index) => [index + 1, index + 1]));
  field("candidates").value = MOST_CANDIDATES;
  el("examples").replaceChildren(
    ...EXAMPLES.map((text) => {
      const button = make("button", { type: "button", textContent: text });
      button.addEventListener("click", () => {
        field("prompt").value = text;
        onChange();
        field("prompt").focus();
      });
      return button;
    }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onSubmit();
  });
  form.addEventListener("invalid", (event) => uncover(event.target), true); // else the browser can point at nothing
  form.addEventListener("input", (event) => {
    if (["model", "fps"].includes(event.target.name)) fit();
    gateOrPicture();
    onChange();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.contains(event.target)) form.requestSubmit();
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      field("prompt").focus();
    }
  });
}
