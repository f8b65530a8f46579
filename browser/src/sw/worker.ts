/**
 * Keeps the page working without a network. Only what is fetched with GET from the page's own
 * folder is kept; what goes to the API passes by untouched.
 *
 * The page's own files are kept together under one version (see plugin.ts), so that no mixture of
 * two versions is ever served. The device's files are kept by their hash, checked before they are
 * kept: a bundle of another hash is another file, and the same bundle survives a newer page.
 */

import { findDeviceFile, keepDeviceFiles } from "./deviceFiles";
import { withPageHeaders } from "./pageHeaders";

declare const self: ServiceWorkerGlobalScope;

/** Put in by the build: what belongs to the page, and a hash over all of it. */
declare const __PRECACHE__: { version: string; urls: string[] };

const { version, urls } = __PRECACHE__;
const PAGE_PREFIX = "pneumoscope-page-";
const PAGE_CACHE = PAGE_PREFIX + version;
const SCOPE = new URL(self.registration.scope);
const PAGE_URLS = new Set(urls.map((url) => new URL(url, SCOPE).href));
const DEVICE_FOLDER = new URL("device/", SCOPE).href;

self.addEventListener("install", (event) => {
  event.waitUntil(keepPage());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(dropOlderPages().then(() => self.clients.claim()));
});

self.addEventListener("message", (event) => {
  if (event.data === "take over") void self.skipWaiting();
  if (event.data === "keep device files") {
    const kept = keepDeviceFiles(DEVICE_FOLDER).then(() => event.ports[0]?.postMessage("kept"));
    event.waitUntil(kept);
  }
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const url = new URL(request.url);
  url.search = "";
  url.hash = "";
  const isIndex = url.href === new URL("index.html", SCOPE).href;
  const href = isIndex ? SCOPE.href : url.href;
  if (PAGE_URLS.has(href)) event.respondWith(findPageFile(href, request));
  else if (href.startsWith(DEVICE_FOLDER)) event.respondWith(findDeviceFile(href, request));
});

async function keepPage(): Promise<void> {
  const cache = await caches.open(PAGE_CACHE);
  // Past the browser's own cache, which may still hold a file of the version before.
  await cache.addAll([...PAGE_URLS].map((url) => new Request(url, { cache: "no-cache" })));
}

async function findPageFile(href: string, request: Request): Promise<Response> {
  const cache = await caches.open(PAGE_CACHE);
  return withPageHeaders((await cache.match(href)) ?? (await fetch(request)));
}

async function dropOlderPages(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(PAGE_PREFIX) && name !== PAGE_CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}
