/** How the two ways fail, where a person can still mend it. */

import { beforeEach, expect, test, vi } from "vitest";
import { DeviceError, ServerDetector, ServerError, UsageError } from "../../src/core";
import { WorkerClient } from "../../src/core/device/workerClient";

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
