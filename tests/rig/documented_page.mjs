// What stands around a JavaScript block of docs/api.md where somebody uses it: an address, a job, a picture, and
// what browsers and npm's standardwebhooks give. Refusals end the block, also where it does not look.

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"

const { URL, id } = JSON.parse(process.env.GIVEN)
const picture = new Blob([readFileSync("picture.png")], { type: "image/png" })
const [rawBody, headers] = ["{}", {}]
const streams = []

const plain = fetch
globalThis.fetch = async (...asked) => {
  const answer = await plain(...asked)
  if (!answer.ok) throw new Error(await answer.text())
  return answer
}

class EventSource {
  constructor(link) {
    this.heard = {}
    const { pathname, search } = new globalThis.URL(link) // its gateway does not know where the test has put it
    streams.push(fetch(`${URL}${pathname}${search}`).then((answer) => answer.text()).then((text) => this.tell(text)))
  }
  addEventListener(kind, listener) {
    this.heard[kind] = listener
  }
  tell(text) {
    const lines = (name) => [...text.matchAll(new RegExp(`^${name}: (.*)$`, "gm"))].map((found) => found[1])
    assert.ok(lines("event").length)
    lines("event").forEach((kind, i) => this.heard[kind]?.({ data: lines("data")[i] }))
  }
}

// The real one verifies in `make conformance`, as part of npm's openai.
class Webhook {
  constructor(secret) {
    assert.match(secret, /^whsec_[A-Za-z0-9+/=]{44}$/)
  }
  verify(body) {
    return JSON.parse(body)
  }
}

const video = await (await fetch(`${URL}/videos/${id}`)).json()
