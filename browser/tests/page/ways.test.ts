/** Bundles of one's own: one worker at a time stays, however quickly they come. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  dropOwnBundle,
  ownBundle,
  start,
  stateOf,
  takeOwnBundle,
  way,
} from "../../src/page/state/ways";
import { readAnswers } from "../core/golden";

// Modules of the page look where it lies as soon as they are loaded.
vi.hoisted(() => vi.stubGlobal("document", { baseURI: "https://host.example/" }));

/** Stands for the worker: opens when the test says so. */
class FakeWorker extends EventTarget {
  static readonly all: FakeWorker[] = [];
  isAlive = true;
  private asked: number | null = null;

  constructor() {
    super();
    FakeWorker.all.push(this);
  }

  postMessage({ id }: { id: number }): void {
    this.asked = id;
  }

  terminate(): void {
    this.isAlive = false;
  }

  open(): void {
    const { card } = readAnswers();
    this.reply({ kind: "answer", value: { card, identity: { sha256: "s" }, threads: 1 } });
  }

  refuse(): void {
    this.reply({ kind: "error", type: "BundleError", message: "No bundle." });
  }

  private reply(words: object): void {
    if (!this.isAlive) return;
    const data = { id: this.asked, ...words };
    this.dispatchEvent(new MessageEvent("message", { data }));
  }
}

const nWorkers = (n: number) => vi.waitFor(() => expect(FakeWorker.all).toHaveLength(n));
const alive = () => FakeWorker.all.flatMap((worker, index) => (worker.isAlive ? [index] : []));

beforeEach(async () => {
  vi.stubGlobal("Worker", FakeWorker);
  vi.stubGlobal("fetch", async (url: URL) =>
    String(url).includes("device.json") ? new Response("{}") : new Response("", { status: 404 }),
  );
  way.value = "device";
  const started = start();
  await nWorkers(1);
  FakeWorker.all[0].open();
  await started;
  await vi.waitFor(() => expect(stateOf("device").status).toBe("ready"));
});

afterEach(() => {
  ownBundle.value = null;
  FakeWorker.all.length = 0;
});

const bundle = (name: string) => new File([name], name);

async function openFirstBundle(): Promise<void> {
  const first = takeOwnBundle(bundle("a.onnx"));
  await nWorkers(2);
  FakeWorker.all[1].open();
  await first;
}

test("of two bundles dropped quickly one after another only the last one's worker is left", async () => {
  const first = takeOwnBundle(bundle("a.onnx"));
  await nWorkers(2);
  const second = takeOwnBundle(bundle("b.onnx"));
  await nWorkers(3);
  FakeWorker.all[1].open();
  FakeWorker.all[2].open();
  await Promise.all([first, second]);
  expect(ownBundle.value?.name).toBe("b.onnx");
  expect(stateOf("device").status).toBe("ready");
  expect(alive()).toEqual([2]);
});

test("a bundle that is overtaken is stopped at once, though it never opens", async () => {
  void takeOwnBundle(bundle("a.onnx"));
  await nWorkers(2);
  const second = takeOwnBundle(bundle("b.onnx"));
  await nWorkers(3);
  FakeWorker.all[2].open();
  await second;
  expect(alive()).toEqual([2]);
});

test("a second bundle that is refused leaves the one that answered before", async () => {
  const first = takeOwnBundle(bundle("a.onnx"));
  await nWorkers(2);
  const second = takeOwnBundle(bundle("b.onnx"));
  await nWorkers(3);
  FakeWorker.all[2].refuse();
  await Promise.all([first, second]);
  expect(stateOf("device").status).toBe("ready");
  expect(ownBundle.value).toBeNull();
  expect(alive()).toEqual([0]);
});

test("to go back to the page's bundle while another opens leaves one worker", async () => {
  await openFirstBundle();
  const second = takeOwnBundle(bundle("b.onnx"));
  await nWorkers(3);
  const back = dropOwnBundle();
  await nWorkers(4);
  FakeWorker.all[3].open();
  await Promise.all([second, back]);
  expect(ownBundle.value).toBeNull();
  expect(alive()).toEqual([3]);
});

test("a bundle that is refused after the one before it crashed brings that one back", async () => {
  await openFirstBundle();
  const second = takeOwnBundle(bundle("b.onnx"));
  await nWorkers(3);
  FakeWorker.all[1].dispatchEvent(Object.assign(new Event("error"), { message: "memory" }));
  FakeWorker.all[2].refuse();
  await nWorkers(4);
  FakeWorker.all[3].open();
  await second;
  expect(ownBundle.value?.name).toBe("a.onnx");
  expect(stateOf("device").status).toBe("ready");
  expect(alive()).toEqual([3]);
});
