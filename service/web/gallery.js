// What was made before: one button per video, its thumbnail fetched when it comes into view.

import * as api from "./api.js";
import { el, make } from "./page.js";

const gallery = el("gallery");
const more = el("more");

let last = null;
let open = () => {};

const WORDS = { queued: "waiting", running: "running", awaiting_approval: "choose", failed: "failed", cancelled: "cancelled", expired: "expired" };

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    api.get(target.dataset.id).then(({ body }) => put(body), () => {});
  }
});

function entry(video) {
  const button = make("button", { type: "button" });
  button.dataset.id = video.id;
  const link = video.urls.thumbnail_link;
  const picture = link ? make("img", { src: link, alt: "" }) : make("span", { className: "blank", textContent: WORDS[video.state] || "" });
  button.append(picture, make("span", { className: "caption", textContent: video.prompt }));
  button.addEventListener("click", () => open(video.id));
  return button;
}

/** Put `video` where it stands, or in front. */
export function put(video) {
  const old = gallery.querySelector(`[data-id="${CSS.escape(video.id)}"]`);
  if (old && old.dataset.state === video.state && (old.querySelector("img") || !video.urls.thumbnail_link)) return;
  const fresh = entry(video);
  fresh.dataset.state = video.state;
  if (old) {
    fresh.setAttribute("aria-current", old.getAttribute("aria-current") || "false");
    const focused = document.activeElement === old;
    old.replaceWith(fresh);
    if (focused) fresh.focus();
  } else {
    gallery.prepend(fresh);
    el("none").hidden = true;
  }
}

/** It is deleted, or its time is over. */
export function drop(id) {
  gallery.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
  el("none").hidden = gallery.children.length > 0;
}

export function mark(id) {
  for (const button of gallery.children) button.setAttribute("aria-current", String(button.dataset.id === id));
}

async function page() {
  const { data, has_more: goesOn, last_id: end } = await api.list(last);
  for (const video of data) {
    if (gallery.querySelector(`[data-id="${CSS.escape(video.id)}"]`)) continue;
    const button = entry(video);
    gallery.append(button);
    if (video.state === "succeeded") seen.observe(button);
    else button.dataset.state = video.state;
  }
  last = end || last;
  more.hidden = !goesOn;
  el("none").hidden = gallery.children.length > 0;
}

export async function begin({ onOpen, onError }) {
  open = onOpen;
  more.addEventListener("click", () => page().catch(onError));
}

/** From the newest on. */
export async function refresh() {
  gallery.replaceChildren();
  last = null;
  await page();
}
