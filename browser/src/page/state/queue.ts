/** Answer what waits: one after the other on this device, a few at once on the server. */

import { effect } from "@preact/signals";
import { type Answer, type Detector, PneumoscopeError, ServerError } from "../../core";
import { reducePicture } from "../drawing/gray";
import { words } from "../words";
import { announce, notice, tell } from "./announce";
import { type Item, items, nDone, updateItem } from "./items";
import { keepCard } from "./point";
import { keepRadiograph } from "./radiographs";
import { current, lockServer, messageOf, using } from "./ways";

/** The device has one worker; the server answers several at once and queues the rest. */
const N_AT_ONCE = { device: 1, server: 4 };
/** Longer side of the copy kept for the list and for paper. */
const SMALL_PX = 640;
const USUAL_WAIT_S = 2;
const MAX_TRIES = 30;

const tries = new Map<number, number>();
/** Counted by way: what the server is slow with keeps no answer of the device waiting. */
const nRunning = { device: 0, server: 0 };
let serverPausedUntil = 0;

/** Begin to answer whatever waits, now and whenever something new does. */
export function runQueue(): void {
  effect(() => {
    const detector = current.value;
    const next = items.value.find((item) => item.state === "waiting");
    if (detector === null || next === undefined) return;
    const { where } = detector;
    if (where === "server" && performance.now() < serverPausedUntil) return;
    if (nRunning[where] < N_AT_ONCE[where]) void answer(next, detector);
  });
}

async function answer(item: Item, detector: Detector): Promise<void> {
  updateItem(item.id, { state: "running" });
  try {
    accept(item, detector, await ask(item, detector));
  } catch (error) {
    refuse(item, error);
  }
}

async function ask(item: Item, detector: Detector): Promise<Answer> {
  nRunning[detector.where] += 1;
  try {
    const bytes = new Uint8Array(await item.file.arrayBuffer());
    return await using(detector, () => detector.predict(bytes, item.name));
  } finally {
    nRunning[detector.where] -= 1;
  }
}

function accept(item: Item, detector: Detector, { prediction, radiograph }: Answer): void {
  tries.delete(item.id);
  keepCard(prediction.bundle.sha256, detector.card);
  keepRadiograph(item.id, radiograph);
  const small = reducePicture(radiograph, SMALL_PX);
  updateItem(item.id, { state: "answered", prediction, failure: null, small });
  const { length } = items.value;
  announce(length === 1 ? words.answered(prediction) : words.list.progress(nDone.value, length));
}

function refuse(item: Item, error: unknown): void {
  if (error instanceof ServerError && error.status === 401) {
    updateItem(item.id, { state: "waiting" });
    lockServer();
    return;
  }
  const nTries = (tries.get(item.id) ?? 0) + 1;
  if (error instanceof ServerError && error.status === 503 && nTries < MAX_TRIES) {
    tries.set(item.id, nTries);
    pauseServer(error.retryAfterSeconds ?? USUAL_WAIT_S);
    updateItem(item.id, { state: "waiting" });
    return;
  }
  tries.delete(item.id);
  const type = error instanceof PneumoscopeError ? error.type : "Error";
  const failure = { path: item.name, error: { type, message: messageOf(error) } };
  updateItem(item.id, { state: "failed", prediction: null, failure, small: null });
  announce(words.failed(failure));
}

function pauseServer(seconds: number): void {
  const waiting = words.server.busy(seconds);
  serverPausedUntil = performance.now() + 1000 * seconds;
  tell(waiting);
  setTimeout(() => {
    serverPausedUntil = 0;
    if (notice.value?.text === waiting) notice.value = null;
    items.value = [...items.value]; // so that the queue looks again
  }, 1000 * seconds);
}
