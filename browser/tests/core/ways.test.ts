/** How the two ways fail, where a person can still mend it. */

import { beforeEach, expect, test, vi } from "vitest";
import { DeviceError, ServerDetector, ServerError, UsageError } from "../../src/core";
import { WorkerClient } from "../../src/core/device/workerClient";
import { readAnswers } from "./golden";

const BASE = new URL("https://host.example/");

test.each(["cl\u00e9\u2013token", "token\u0000"])(
  "a token that no header can carry (%j) is not taken for a missing server",
  async (token) => {
    // As a browser does: the request with such a header fails like one without a network.
    vi.stubGlobal("fetch", async (url: URL, init: RequestInit) => new Request(url, init));
    await expect(ServerDetector.open(BASE, { token })).rejects.toBeInstanceOf(UsageError);
  },
);

test("a token that a header can carry is sent", async () => {
  const sent: (string | null)[] = [];
  vi.stubGlobal("fetch", async (url: URL, init: RequestInit) => {
    sent.push(new Request(url, init).headers.get("Authorization"));
    return new Response("{}", { status: 401 });
  });
  await expect(ServerDetector.open(BASE, { token: "abc~1" })).rejects.toBeInstanceOf(ServerError);
  expect(sent).toEqual(["Bearer abc~1"]);
});

test("an answer of another bundle than the card's is refused, not shown at its thresholds", async () => {
  vi.stubGlobal("document", { baseURI: BASE.href });
  const { card } = readAnswers();
  const [answer] = readServerAnswers();
  let running = "a".repeat(64);
  vi.stubGlobal("fetch", async (url: URL) => {
    if (String(url).includes("bundle")) return Response.json({ ...card, sha256: running });
    return Response.json([{ ...answer, bundle: { ...answer.bundle, sha256: running } }]);
  });
  class Reader extends EventTarget {
    postMessage({ id }: { id: number }): void {
      const radiograph = { pixels: new Uint8Array(4), width: 2, height: 2 };
      const data = { id, kind: "answer", value: radiograph };
      queueMicrotask(() => this.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate(): void {}
  }
  vi.stubGlobal("Worker", Reader);
  const detector = await ServerDetector.open(BASE);
  expect((await detector.predict(new Uint8Array(4), "a.png")).prediction.bundle.sha256).toBe(
    running,
  );
  const { path } = (await detector.predict(new Uint8Array(4), 'a"b.png')).prediction;
  expect(path).toBe('a"b.png'); // not as the server has it, which is what the upload could carry
  running = "b".repeat(64);
  await expect(detector.predict(new Uint8Array(4), "a.png")).rejects.toThrow("another bundle");
});

function readServerAnswers() {
  const operating_point = { name: "usual", threshold: 0.5 };
  const bundle = { name: "tiny", version: "1", sha256: "" };
  const map = { height: 1, width: 1, values: [0] };
  const known = { path: "a.png", sha256: "s", probability: 0.5, logit: 0, label: "pneumonia" };
  const rest = { regions: [], warnings: [], image: { height: 2, width: 2 }, atypicality: 0 };
  return [{ ...known, ...rest, operating_point, bundle, map, seconds: 1 }];
}

let worker: EventTarget;

beforeEach(() => {
  class SilentWorker extends EventTarget {
    constructor() {
      super();
      worker = this;
    }
    postMessage(): void {}
    terminate(): void {}
  }
  vi.stubGlobal("Worker", SilentWorker);
});

const read = { base: BASE.href, bytes: new Uint8Array(1), name: "a.png" };

test("a crash of the worker is told before the calls that wait fail, and once", async () => {
  const client = new WorkerClient();
  const told: string[] = [];
  client.onCrash = ({ message }) => told.push(message);
  const call = client.call("read", read).catch((error: unknown) => told.push(String(error)));
  worker.dispatchEvent(Object.assign(new Event("error"), { message: "out of memory" }));
  worker.dispatchEvent(Object.assign(new Event("error"), { message: "again" }));
  await call;
  expect(told).toHaveLength(2);
  expect(told[0]).toContain("out of memory");
  expect(told[1]).toBe(`DeviceError: ${told[0]}`);
  await expect(client.call("read", read)).rejects.toBeInstanceOf(DeviceError);
});

test("to close the worker is no crash", async () => {
  const client = new WorkerClient();
  const onCrash = vi.fn();
  client.onCrash = onCrash;
  const call = client.call("read", read);
  client.close();
  await expect(call).rejects.toBeInstanceOf(DeviceError);
  expect(onCrash).not.toHaveBeenCalled();
});
