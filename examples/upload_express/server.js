// An upload handler of Express: the gate is asked before an image is shown, and its callback decides later.
//
//   npm install
//   export SUSY_URL=http://127.0.0.1:8484 SUSY_API_KEY=susy_…    # as `susy up` printed it
//   export CALLBACK_SECRET=whsec_…                               # as `susy endpoint add` printed it
//   PORT=9002 npm start
//
//   curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://127.0.0.1:9002/avatars
//
// An image that is held stays `pending` until its callback, which is signed, may come twice, and may come late. A
// platform keeps this in its database; here it is a map.

import { randomUUID } from "node:crypto";
import express from "express";
import { Webhook } from "standardwebhooks";

const { SUSY_URL, SUSY_API_KEY, CALLBACK_SECRET, GATE_SECONDS = "10", PORT = "9002" } = process.env;
const STATUS = { allow: "published", hold: "pending", refuse: "refused" };
const DECIDED = { authentic: "published", synthetic: "refused", inconclusive: "pending" };
const images = new Map(); // by check id: {sequence, status}

const app = express();

app.post("/avatars", express.raw({ type: "image/*", limit: "50mb" }), async (request, response) => {
  const answer = await gate(request.body);
  if (answer.answer === "refuse") return response.status(422).json({ code: "upload_refused" });
  if (answer.check_id && !images.has(answer.check_id)) {
    // The callback may have come before this line.
    images.set(answer.check_id, { sequence: 0, status: STATUS[answer.answer] });
  }
  response.status(202).json({ check_id: answer.check_id, status: STATUS[answer.answer] });
});

app.get("/avatars/:id", (request, response) => {
  const image = images.get(request.params.id);
  response.status(image ? 200 : 404).json({ status: image?.status ?? "unknown" });
});

// The bytes as sent: JSON that was parsed and written again has another signature.
app.post("/hooks/susy", express.raw({ type: "application/json" }), (request, response) => {
  let message;
  try {
    message = new Webhook(CALLBACK_SECRET).verify(request.body, request.headers);
  } catch {
    return response.status(401).send("wrong signature\n");
  }
  const { check_id, sequence, decision } = message.data;
  if (message.type.startsWith("image.verdict.") && sequence > (images.get(check_id)?.sequence ?? 0)) {
    images.set(check_id, { sequence, status: DECIDED[decision] });
  }
  response.status(204).end();
});

// Ask whether an image may be published. While the service cannot be asked, images wait for a person.
async function gate(image) {
  const question = `${SUSY_URL}/v1/gate?source=avatars&within=${GATE_SECONDS}`;
  const headers = {
    Authorization: `Bearer ${SUSY_API_KEY}`,
    "Content-Type": "application/octet-stream",
    "Idempotency-Key": randomUUID(),
  };
  try {
    const answer = await fetch(question, {
      method: "POST",
      headers,
      body: image,
      redirect: "error",
      signal: AbortSignal.timeout((Number(GATE_SECONDS) + 5) * 1000),
    });
    if (answer.ok) return await answer.json();
    if (answer.status === 413) return { answer: "refuse", check_id: null };
    console.error("the gate answered", answer.status, await answer.text());
  } catch (error) {
    console.error("the gate cannot be asked:", error.message);
  }
  return { answer: "hold", check_id: null };
}

app.listen(Number(PORT), "127.0.0.1", () => console.log(`listening on ${PORT}`));
