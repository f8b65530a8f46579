/** Keep the page for when there is no network, and say when a newer one has come. */

import { effect, signal } from "@preact/signals";
import { words } from "../words";
import { announce, tell } from "./announce";
import { current, isSettled } from "./ways";

/** The first radiograph goes before: keeping files takes a moment of the processor's time. */
const DELAY_MS = 1500;

/** Everything to run on this device is kept: the network may go. */
export const isKept = signal(false);

/** Register the service worker of the built page; a browser without one goes on without. */
export async function keepOffline(): Promise<void> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  // What is needed now goes before what may be later. A way that failed counts as well: a kept page
  // that does not fit the host's new parts can be mended by the newer page alone.
  await until(() => isSettled.value);
  const workers = navigator.serviceWorker;
  const hadOne = workers.controller !== null;
  try {
    const registration = await workers.register(new URL("sw.js", document.baseURI));
    if (hadOne) registration.addEventListener("updatefound", () => offerUpdate(registration));
    // Opening the page has made the browser look by itself: the newer one may have come by now.
    if (hadOne && (registration.installing ?? registration.waiting)) offerUpdate(registration);
    await workers.ready;
    await keepDeviceFiles(registration);
  } catch {
    // Storage is refused or the page came over plain HTTP: it works, but not offline.
  }
}

function offerUpdate({ installing, waiting }: ServiceWorkerRegistration): void {
  const next = installing ?? waiting;
  const offer = () => {
    if (next?.state !== "installed") return;
    tell(words.offline.updated, "info", {
      label: words.offline.reload,
      run: () => {
        const { serviceWorker } = navigator;
        serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
        next.postMessage("take over");
      },
    });
  };
  next?.addEventListener("statechange", offer);
  offer();
}

/** Have the device's files kept, once this device is in use: they are too large to fetch unasked. */
async function keepDeviceFiles({ active }: ServiceWorkerRegistration): Promise<void> {
  await until(() => current.value?.where === "device");
  await new Promise((take) => setTimeout(take, DELAY_MS));
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    isKept.value = data === "kept";
    if (isKept.value) announce(words.offline.ready);
  };
  active?.postMessage("keep device files", [port2]);
}

/** Wait until something that rests on signals is so. */
async function until(isSo: () => boolean): Promise<void> {
  let stop = () => {};
  await new Promise<void>((take) => {
    stop = effect(() => {
      if (isSo()) take();
    });
  });
  stop();
}
