/** The two ways to an answer: on this device, and on the server. */

import { computed, signal } from "@preact/signals";
import {
  type Detector,
  DeviceDetector,
  PneumoscopeError,
  type Progress,
  ServerDetector,
  ServerError,
  UsageError,
} from "../../core";
import { words } from "../words";
import { announce, tell } from "./announce";
import { recall, remember } from "./preferences";

export const WAYS = ["device", "server"] as const;
export type Way = (typeof WAYS)[number];

export type WayState =
  | { status: "checking" }
  | { status: "absent" }
  | { status: "offered" } // there, but not chosen and so not started
  | { status: "starting"; progress: Progress | null }
  | { status: "locked" } // the server wants a token
  | { status: "failed"; message: string }
  | { status: "ready"; detector: Detector };

/** Where the page lies; the API and the device's files are sought below it. */
const base = new URL(".", document.baseURI);

const states = {
  device: signal<WayState>({ status: "checking" }),
  server: signal<WayState>({ status: "checking" }),
};

/** The way in use: this device, unless another was chosen or it cannot be had here. */
export const way = signal<Way>(recall("way", WAYS) ?? "device");

/** A bundle of one's own that was dropped on the page. */
export const ownBundle = signal<File | null>(null);

export function stateOf(each: Way): WayState {
  return states[each].value;
}

/** The detector that answers now; null until it is ready. */
export const current = computed<Detector | null>(() => {
  const state = states[way.value].value;
  return state.status === "ready" ? state.detector : null;
});

/** The way in use is ready, or does not get further without the person. */
export const isSettled = computed(() =>
  ["ready", "locked", "failed", "absent"].includes(states[way.value].value.status),
);

/** Find out which ways there are, and start the one to use. */
export async function start(): Promise<void> {
  const server = openServer(null);
  // Begun before it is known whether it is there: its files are what takes longest to come.
  if (way.value === "device") void openDevice(null);
  const isThere = await fetch(new URL("device/device.json", base)).then(
    (reply) => reply.ok,
    () => false,
  );
  if (!isThere) states.device.value = { status: "absent" };
  else if (states.device.value.status === "checking") states.device.value = { status: "offered" };
  await server;
  if (states[way.value].value.status === "absent") {
    // Not remembered: next time the other way may be there again.
    const other = WAYS.find((each) => states[each].value.status !== "absent");
    if (other !== undefined) await use(other);
  }
}

/** Choose a way, for this visit and the next. */
export async function choose(each: Way): Promise<void> {
  remember("way", each);
  await use(each);
}

async function use(each: Way): Promise<void> {
  way.value = each;
  if (each === "device" && ["offered", "failed"].includes(states.device.value.status)) {
    await openDevice(ownBundle.value);
  }
  if (each === "server" && states.server.value.status === "failed") await openServer(null);
}

/** Run a bundle of one's own on this device from now on; one that is refused changes nothing. */
export async function takeOwnBundle(file: File): Promise<void> {
  if (stateOf("device").status === "absent") {
    tell(words.ownBundle.needsDevice, "problem");
    return;
  }
  const before = way.value;
  way.value = "device";
  const state = await openDevice(file);
  if (state?.status === "ready") {
    ownBundle.value = file;
    tell(words.ownBundle.taken(file.name, state.detector.identity));
  } else if (state?.status === "failed") {
    tell(words.ownBundle.refused(file.name, state.message), "problem");
    way.value = before;
    if (opened) states.device.value = { status: "ready", detector: opened };
    else await openDevice(ownBundle.value);
  }
}

/** Go back from a bundle of one's own to the page's. */
export async function dropOwnBundle(): Promise<void> {
  if (opened) retire(opened);
  opened = null;
  ownBundle.value = null;
  await openDevice(null);
}

/** Ask the server again, with a bearer token. */
export async function unlock(token: string): Promise<void> {
  await openServer(token);
}

/** The server wants a token for what it answered before without one. */
export function lockServer(): void {
  states.server.value = { status: "locked" };
}

/** The device's detector that was ready last; it stays until the next is, which may be refused. */
let opened: DeviceDetector | null = null;
let opening = new AbortController();

/** Start this device; null where it was absent, or another bundle has overtaken this one. */
async function openDevice(own: File | null): Promise<WayState | null> {
  const mine = new AbortController();
  opening.abort();
  opening = mine;
  const isOvertaken = () => mine.signal.aborted || stateOf("device").status === "absent";
  const state = states.device;
  state.value = { status: "starting", progress: null };
  try {
    const bundleBytes = await own?.arrayBuffer();
    const detector = await DeviceDetector.open({
      base,
      signal: mine.signal,
      onProgress: (progress) => {
        if (!isOvertaken() && stateOf("device").status === "starting") {
          state.value = { status: "starting", progress };
        }
      },
      ...(bundleBytes && { bundleBytes }),
    });
    if (isOvertaken()) {
      detector.close();
      return null;
    }
    detector.onCrash = ({ message }) => {
      if (opened !== detector) return;
      opened = null;
      if (stateOf("device").status === "ready") state.value = { status: "failed", message };
    };
    if (opened) retire(opened);
    opened = detector;
    ready("device", detector);
  } catch (error) {
    if (isOvertaken()) return null;
    state.value = { status: "failed", message: messageOf(error) };
  }
  return state.value;
}

async function openServer(token: string | null): Promise<void> {
  const state = states.server;
  // Where it was once seen, no reply means trouble that may pass, and another try is offered.
  const wasSeen = !["checking", "absent"].includes(state.value.status);
  try {
    ready("server", await ServerDetector.open(base, token === null ? {} : { token }));
  } catch (error) {
    const status = error instanceof ServerError ? error.status : null;
    if (status === 401 || error instanceof UsageError) {
      state.value = { status: "locked" };
      const reason = status === 401 ? words.server.tokenRefused : messageOf(error);
      if (token !== null) tell(reason, "problem");
    } else if (!wasSeen && (status === null || status === 404)) {
      state.value = { status: "absent" };
    } else {
      state.value = { status: "failed", message: messageOf(error) };
    }
  }
}

function ready(each: Way, detector: Detector): void {
  states[each].value = { status: "ready", detector };
  if (way.value === each) announce(words.ways.ready(each));
}

// What a detector is asked now is still answered by it; it is closed when the last answer is in.
const busy = new Map<Detector, number>();
const retired = new Set<Detector>();

/** Use a detector so that it is not closed meanwhile. */
export async function using<T>(detector: Detector, ask: () => Promise<T>): Promise<T> {
  busy.set(detector, (busy.get(detector) ?? 0) + 1);
  try {
    return await ask();
  } finally {
    busy.set(detector, (busy.get(detector) ?? 1) - 1);
    closeIfIdle(detector);
  }
}

function retire(detector: Detector): void {
  retired.add(detector);
  closeIfIdle(detector);
}

function closeIfIdle(detector: Detector): void {
  if (!retired.has(detector) || (busy.get(detector) ?? 0) > 0) return;
  retired.delete(detector);
  busy.delete(detector);
  detector.close();
}

/** Return an error's words for people. */
export function messageOf(error: unknown): string {
  if (error instanceof PneumoscopeError) return error.message;
  return words.unexpected(error instanceof Error ? error.message : String(error));
}
