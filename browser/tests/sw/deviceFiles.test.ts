/** What the service worker answers for the device's list when the host is not itself. */

import { beforeEach, expect, test, vi } from "vitest";
import { findDeviceFile } from "../../src/sw/deviceFiles";

const FOLDER = "https://host.example/some/folder/device/";
const LIST = `${FOLDER}device.json`;
const HASH = `${FOLDER}bundle.onnx.sha256`;
const list = JSON.stringify({
  files: { "ort.wasm": { sha256: "a".repeat(64), bytes: 3 } },
  bundle: "bundle.onnx",
});
const hashLine = `${"b".repeat(64)}  bundle.onnx\n`;
const loginPage = "<!doctype html><title>Sign in</title>";

let kept: Map<string, Response>;

beforeEach(() => {
  kept = new Map();
  const cache = {
    match: async (href: string) => kept.get(href)?.clone(),
    put: async (href: string, reply: Response) => void kept.set(href, reply),
  };
  vi.stubGlobal("caches", { open: async () => cache });
});

/** Have the host answer so from now on, and return what the page then gets. */
async function ask(href: string, answer: () => Response | Promise<Response>): Promise<Response> {
  vi.stubGlobal("fetch", async () => answer());
  return findDeviceFile(href, new Request(href));
}

async function whatIsKept(href: string): Promise<string | undefined> {
  return kept.get(href)?.clone().text();
}

function sentOn(text: string): Response {
  return Object.defineProperty(new Response(text), "redirected", { value: true });
}

for (const [href, good] of [
  [LIST, list],
  [HASH, hashLine],
  [HASH, "b".repeat(64)],
]) {
  const name = `${href.slice(FOLDER.length)} (${good.length} characters)`;

  test.each([500, 502, 503, 504])(`${name} is the kept one behind a proxy's %i`, async (status) => {
    await ask(href, () => new Response(good));
    const reply = await ask(href, () => new Response("Bad gateway", { status }));
    expect(reply.status).toBe(200);
    expect(await reply.text()).toBe(good);
  });

  test(`${name} is the kept one without a network`, async () => {
    await ask(href, () => new Response(good));
    const reply = await ask(href, () => Promise.reject(new TypeError("Failed to fetch")));
    expect(await reply.text()).toBe(good);
  });

  test.each([
    ["a login page", () => new Response(loginPage)],
    ["a reply that was sent on", () => sentOn(good.replaceAll("b", "c"))],
    ["other JSON", () => new Response('{"error": "sign in"}')],
    ["null", () => new Response("null")],
  ])(`${name} is neither replaced by %s nor answered with it`, async (_, answer) => {
    await ask(href, () => new Response(good));
    expect(await (await ask(href, answer)).text()).toBe(good);
    expect(await whatIsKept(href)).toBe(good);
  });

  test(`${name} is gone when the host says so`, async () => {
    await ask(href, () => new Response(good));
    expect((await ask(href, () => new Response("", { status: 404 }))).status).toBe(404);
  });

  test(`${name} is the host's newer one`, async () => {
    await ask(href, () => new Response(good));
    const newer = good.replaceAll("bbbb", "cccc").replaceAll("aaaa", "dddd");
    expect(await (await ask(href, () => new Response(newer))).text()).toBe(newer);
    expect(await whatIsKept(href)).toBe(newer);
  });
}

test("with nothing kept the host's reply is passed on and not kept", async () => {
  expect(await (await ask(LIST, () => new Response(loginPage))).text()).toBe(loginPage);
  expect((await ask(LIST, () => new Response("", { status: 503 }))).status).toBe(503);
  expect(kept.size).toBe(0);
});
