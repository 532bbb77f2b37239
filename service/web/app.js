// The playground: form, stage and gallery over the same HTTP API that everybody else uses.

import * as api from "./api.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import { el } from "./page.js";
import { pictured } from "./snippets.js";
import * as stage from "./stage.js";

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let watched = null; // the id on the stage: a look at another one that comes late is thrown away

/** Show what the events say; back when the video has changed its state, or the stream has ended or failed. */
async function listen(id) {
  const mine = new AbortController();
  let video = null;
  const hear = (kind, said) => {
    if (watched !== id) return mine.abort();
    if (kind === "reset") video = said;
    else if (kind === "video.preview") return stage.preview(said);
    else if (kind === "video.progress" && video) Object.assign(video, said);
    else return mine.abort(); // a new state has more to show than its event says: look
    stage.show(video);
    gallery.put(video);
    if (stage.over(video)) mine.abort();
  };
  await api.follow(id, hear, mine.signal).catch((error) => {
    if (error.name !== "AbortError") throw error;
  });
}

/** Until the video is over or another is on the stage: by its events, and by looking wherever those fail. */
async function watch(id) {
  watched = id;
  gallery.mark(id);
  history.replaceState(null, "", `#${id}`);
  for (let misses = 0; watched === id; ) {
    let wait = 1000;
    try {
      const { body, pollAfter } = await api.get(id);
      if (watched !== id) return;
      misses = 0;
      stage.show(body);
      gallery.put(body);
      if (stage.over(body)) return;
      wait = body.state === "running" ? Math.min(pollAfter, 500) : pollAfter;
      const began = performance.now();
      const heard = await listen(id).then(() => true, () => false);
      if (heard && performance.now() - began > 200) continue; // else looking sets the pace
    } catch (error) {
      if (watched !== id) return;
      if (error.status === 404 || error.status === 410) {
        stage.say(error.message);
        return gallery.drop(id);
      }
      if (error.status === 401) return unlocked(error);
      misses += 1;
      if (misses > 3) stage.say(`${error.message}; looking again…`, id);
      wait = Math.min(1000 * 2 ** misses, 15_000);
    }
    await sleep(wait);
  }
}

/** A new video takes the stage; whoever pressed a key on what is hidden now goes on from its title. */
function take(video) {
  stage.face();
  stage.show(video);
  gallery.put(video);
  if (!el("wish").contains(document.activeElement)) el("title").focus({ preventScroll: true });
  watch(video.id);
}

function open(id) {
  stage.face();
  watch(id);
}

/** For buttons of the stage: an answer that comes when another video is there changes nothing. */
const stillShown = (video) => {
  if (watched === video.id) stage.show(video);
};

const refused = (error) => {
  unlocked(error);
  throw error;
};

async function submit() {
  const button = el("make");
  if (button.disabled) return;
  button.disabled = true;
  form.showFaults(null);
  try {
    take(await api.create(form.wish(), form.picture()));
  } catch (error) {
    form.showFaults(error);
    unlocked(error);
  } finally {
    button.disabled = false;
  }
}

let refilling = null; // the video that the form is being filled from
/** The form as it was for `video`; a picture comes a moment later, unless another video was asked for meanwhile. */
async function refill(video) {
  refilling = video.id;
  form.fill(video);
  if (video.gate || !pictured(video)) return;
  try {
    const picture = await api.keyframe(video.id);
    if (refilling === video.id) form.attach(picture);
  } catch {
    if (refilling === video.id) form.showFaults(new Error("The picture of that video cannot be had: choose it again."));
  }
}

let estimating = null;
/** What it would cost, a moment after the last keystroke. */
async function estimate() {
  estimating?.abort();
  const mine = (estimating = new AbortController());
  el("estimate").textContent = "";
  await sleep(400);
  const asked = form.wish();
  if (mine.signal.aborted || !asked.prompt || form.picture()) return;
  try {
    const { eta_p50_seconds: eta, ahead } = await api.estimate(asked, mine.signal);
    if (eta != null) el("estimate").textContent = `about ${Math.ceil(eta)} s${ahead ? `, ${ahead} before it` : ""}`;
  } catch {
    // the form says what is wrong when it is sent
  }
}

function unlocked(error) {
  if (error.status === 401 || error.status === 403) el("key-dialog").showModal();
}

/** The video that the address names takes the stage. */
function addressed() {
  const id = location.hash.slice(1);
  if (/^video_[0-9a-f]+$/.test(id) && id !== watched) watch(id);
}

let listed = false; // the gallery, once for each key
let again = null;

/** What is served; again as long as nobody answers or no worker is there. */
async function start() {
  clearTimeout(again);
  try {
    const models = await api.models();
    form.offer(models);
    const live = models.filter((model) => model.live_workers > 0).length;
    el("service").textContent = models.length ? `${live} of ${models.length} model${models.length > 1 ? "s" : ""} ready` : "no model is served yet";
    if (!live) again = setTimeout(start, 3000);
    if (listed) return;
    await gallery.refresh();
    listed = true;
    addressed();
  } catch (error) {
    clearTimeout(again);
    el("service").textContent = error.message;
    unlocked(error);
    if (![401, 403].includes(error.status)) again = setTimeout(start, 3000);
  }
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("microcinema.theme", root.dataset.theme);
}

const remembered = localStorage.getItem("microcinema.theme");
if (remembered) document.documentElement.dataset.theme = remembered;
el("theme").addEventListener("click", theme);
el("key").addEventListener("click", () => {
  el("secret").value = api.key.get();
  el("key-dialog").showModal();
});
el("key-dialog").addEventListener("close", () => {
  if (el("key-dialog").returnValue !== "ok") return;
  api.key.set(el("secret").value.trim());
  listed = false;
  start();
});
form.begin({ onSubmit: submit, onChange: estimate });
stage.begin({
  onCancel: (video) => api.cancel(video.id).then(stillShown).catch(refused),
  onChoose: (video, candidate) => api.approve(video.id, candidate).then(stillShown).catch(refused),
  onReproduce: (video) => api.reproduce(video.id).then(take).catch(refused),
  onAgain: refill,
});
addEventListener("hashchange", addressed);
gallery.begin({ onOpen: open, onError: form.showFaults });
start();
