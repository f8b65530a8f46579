/** The queue, where one way has to wait and the other has not. */

import { signal } from "@preact/signals";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Answer, type Detector, ServerError } from "../../src/core";
import { notice } from "../../src/page/state/announce";
import { addFiles, items } from "../../src/page/state/items";
import { runQueue } from "../../src/page/state/queue";
import { current } from "../../src/page/state/ways";

// Modules of the page look where it lies as soon as they are loaded.
vi.hoisted(() => vi.stubGlobal("document", { baseURI: "https://host.example/" }));
vi.mock("../../src/page/state/ways", async (original) => ({
  ...(await original<object>()),
  current: signal<Detector | null>(null),
}));
const chosen = current as unknown as { value: Detector | null };

const RADIOGRAPH = { pixels: new Uint8Array(4), width: 2, height: 2 };
const BUSY = new ServerError("Busy.", { status: 503, retryAfterSeconds: 60 });
const states = () => items.value.map((item) => item.state);

function detector(where: Detector["where"], predict: () => Promise<unknown>) {
  const fake = { where, card: {}, identity: {}, predict: vi.fn(predict), close: () => {} };
  return fake as unknown as Detector & { predict: typeof fake.predict };
}

const device = () =>
  detector(
    "device",
    async () => ({ prediction: { bundle: {} }, radiograph: RADIOGRAPH }) as Answer,
  );

beforeEach(() => {
  vi.useFakeTimers();
  chosen.value = null;
  items.value = [];
  addFiles(["a", "b", "c"].map((name) => ({ name, file: new Blob([name]) })));
});
afterEach(() => {
  vi.runAllTimers(); // the pause's, too
  vi.useRealTimers();
});
runQueue();

test("a pause that the server asks for holds up no answer of the device", async () => {
  const server = detector("server", () => Promise.reject(BUSY));
  chosen.value = server;
  await vi.waitFor(() => expect(notice.value?.text).toContain("busy"));
  await vi.waitFor(() => expect(states()).toEqual(["waiting", "waiting", "waiting"]));
  const nAsked = server.predict.mock.calls.length;
  const mine = device();
  chosen.value = mine;
  await vi.waitFor(() => expect(states()).toEqual(["answered", "answered", "answered"]));
  expect(mine.predict).toHaveBeenCalledTimes(3);
  expect(server.predict).toHaveBeenCalledTimes(nAsked);
});

test("what the server has not answered yet holds up no answer of the device", async () => {
  chosen.value = detector("server", () => new Promise(() => {}));
  await vi.waitFor(() => expect(states()).toEqual(["running", "running", "running"]));
  chosen.value = device();
  addFiles([{ name: "d", file: new Blob(["d"]) }]);
  await vi.waitFor(() => expect(states()[3]).toBe("answered"));
});
