/** The worker: reads files and runs the bundle, away from the page's own thread. */

import { checkHash, readBundleCard } from "../bundle/checkBundle";
import { BundleError, DeviceError } from "../errors";
import { decide, findOperatingPoint } from "../prediction";
import { Codecs } from "../read/dicom/codecs";
import { readFile } from "../read/read";
import { sha256Hex } from "../sha256";
import type { Answer, BundleCard, BundleIdentity, Progress } from "../types";
import { warnOfInput } from "../warnings";
import { checkPart, fetchBytes, fetchPart, fetchParts, type Parts } from "./parts";
import { type CallName, type Calls, describeError, type Reply, type Request } from "./protocol";
import { prepareRuntime, RUNTIME_VERSION, Session, startRuntime } from "./session";

interface Open {
  session: Session;
  card: BundleCard;
  identity: BundleIdentity;
}

type OnProgress = (progress: Progress) => void;

let opened: Open | null = null;
let codecs: Codecs | null = null;

// One after another: each already uses all the threads that there are.
let lastCall: Promise<unknown> = Promise.resolve();

self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  lastCall = lastCall.then(() => answer(data));
});

async function answer(request: Request): Promise<void> {
  const { id } = request;
  const onProgress = (progress: Progress) => send({ id, kind: "progress", progress });
  try {
    const value = await perform(request, onProgress);
    send({ id, kind: "answer", value }, buffersOf(value));
  } catch (error) {
    send({ id, kind: "error", ...describeError(error) });
  }
}

function perform(request: Request, onProgress: OnProgress): Promise<Calls[CallName]["reply"]> {
  switch (request.call) {
    case "open":
      return open(request.words, onProgress);
    case "predict":
      return predict(request.words);
    case "read": {
      const { bytes, name, base } = request.words;
      codecs ??= new Codecs(base);
      return readFile(bytes, name, codecs);
    }
  }
}

async function open(
  { base, bundleBytes }: Calls["open"]["request"],
  onProgress: OnProgress,
): Promise<Calls["open"]["reply"]> {
  codecs = new Codecs(base);
  const parts = await fetchParts(base);
  if (parts.runtime.version !== RUNTIME_VERSION) {
    throw new DeviceError(
      `device/ holds onnxruntime ${parts.runtime.version}, and this page was built for ` +
        `${RUNTIME_VERSION}. Write the parts again with: make web`,
    );
  }
  const title = bundleBytes ? "the bundle" : parts.bundle;
  const [threads, bytes] = await Promise.all([
    fetchRuntime(parts, onProgress),
    bundleBytes ? new Uint8Array(bundleBytes) : fetchBundle(parts, onProgress),
  ]);
  const card = readBundleCard(bytes, title);
  onProgress({ stage: "starting", loaded: null, total: null });
  const [sha256, session] = await Promise.all([sha256Hex(bytes), Session.start(bytes, title)]);
  if (!bundleBytes) await checkBundleHash(sha256, parts);
  // The first run compiles what it needs; let it not be the person's.
  const side = card.size_px;
  await session.run({ pixels: new Uint8Array(side * side), width: side, height: side });
  const identity = { name: card.name, version: card.version, sha256 };
  opened = { session, card, identity };
  onProgress({ stage: "ready", loaded: null, total: null });
  return { card, identity, threads };
}

async function fetchRuntime(parts: Parts, onProgress: OnProgress): Promise<number> {
  const { file } = parts.runtime;
  const url = new URL(file, parts.folder);
  const report = (loaded: number, total: number | null) =>
    onProgress({ stage: "runtime", loaded, total });
  const bytes = await fetchBytes(url, report, parts.files[file]?.bytes);
  await checkPart(bytes, file, parts);
  const threads = prepareRuntime(bytes.buffer);
  await startRuntime();
  return threads;
}

function fetchBundle(parts: Parts, onProgress: OnProgress): Promise<Uint8Array<ArrayBuffer>> {
  return fetchBytes(new URL(parts.bundle, parts.folder), (loaded, total) =>
    onProgress({ stage: "bundle", loaded, total }),
  );
}

/** The host's own bundle always has its hash beside it, and is not used unchecked. */
async function checkBundleHash(sha256: string, parts: Parts): Promise<void> {
  const response = await fetchPart(new URL(`${parts.bundle}.sha256`, parts.folder));
  checkHash(sha256, await response.text(), parts.bundle);
}

async function predict({
  bytes,
  name,
  operatingPointName,
}: Calls["predict"]["request"]): Promise<Answer> {
  if (!opened || !codecs) throw new BundleError("No bundle is open. Open one first.");
  const { session, card, identity } = opened;
  const point = findOperatingPoint(card, operatingPointName ?? undefined);
  const start = performance.now();
  const radiograph = await readFile(bytes, name, codecs);
  const { cam, logit, probability, atypicality } = await session.run(radiograph);
  const milliseconds = performance.now() - start;
  const { height, width } = radiograph;
  const undecided = {
    path: name,
    sha256: await sha256Hex(bytes),
    probability,
    logit,
    label: "normal" as const,
    operatingPoint: point,
    regions: [],
    warnings: warnOfInput(radiograph, card, atypicality),
    bundle: identity,
    atypicality,
    image: { height, width },
    map: { ...cam, thresholdLogit: 0 },
    milliseconds,
    where: "device" as const,
  };
  return { prediction: decide(undecided, card, point.name), radiograph };
}

function send(reply: Reply, transfer: Transferable[] = []): void {
  self.postMessage(reply, { transfer });
}

/** What is handed over to the page instead of being copied. */
function buffersOf(value: Calls[CallName]["reply"]): Transferable[] {
  if ("radiograph" in value) {
    return [value.radiograph.pixels.buffer, value.prediction.map.values.buffer];
  }
  return "pixels" in value ? [value.pixels.buffer] : [];
}
