/** The parts that only the device mode needs, and where they lie; `make web` writes them. */

import * as v from "valibot";
import { DeviceError } from "../errors";
import { sha256Hex } from "../sha256";

const partsSchema = v.object({
  files: v.record(v.string(), v.object({ sha256: v.string(), bytes: v.number() })),
  bundle: v.string(),
  runtime: v.object({ file: v.string(), version: v.string() }),
  codecs: v.object({ "jpeg-ls": v.string(), "jpeg-2000": v.string() }),
});

/** device/device.json */
export type Parts = v.InferOutput<typeof partsSchema> & {
  /** The folder that the names are in. */
  folder: URL;
};

/** @throws DeviceError this host has no device mode, or its list is damaged. */
export async function fetchParts(base: string): Promise<Parts> {
  const url = new URL("device/device.json", base);
  const response = await fetchPart(url);
  const parsed = v.safeParse(partsSchema, await response.json().catch(() => null));
  if (!parsed.success) {
    throw new DeviceError("device/device.json is damaged. Write it again with: make web");
  }
  return { ...parsed.output, folder: new URL(".", url) };
}

/**
 * Fetch a part and count its bytes.
 *
 * @param onBytes Told how many have come, and how many there are where that is known.
 * @throws DeviceError it cannot be fetched.
 */
export async function fetchBytes(
  url: URL,
  onBytes: (loaded: number, total: number | null) => void,
  knownBytes?: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetchPart(url);
  // The header counts compressed bytes where the host compresses.
  const isPlain = !response.headers.has("Content-Encoding");
  const stated = isPlain ? Number(response.headers.get("Content-Length")) || null : null;
  const total = knownBytes ?? stated;
  if (!response.body || total === null) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    onBytes(bytes.length, bytes.length);
    return bytes;
  }
  const bytes = new Uint8Array(total);
  let loaded = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length > total) throw changed(url);
    bytes.set(value, loaded);
    loaded += value.length;
    onBytes(loaded, total);
  }
  if (loaded !== total) throw changed(url);
  return bytes;
}

/** @throws DeviceError the bytes are not those that device.json names. */
export async function checkPart(bytes: Uint8Array<ArrayBuffer>, name: string, parts: Parts) {
  if ((await sha256Hex(bytes)) !== parts.files[name]?.sha256)
    throw changed(new URL(name, parts.folder));
}

/** @throws DeviceError no reply, or one that is not good. */
export async function fetchPart(url: URL): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin" });
  } catch {
    throw new DeviceError(
      `${nameOf(url)} cannot be fetched: the network is cut. Load the page once with a network; ` +
        "after that it works without.",
    );
  }
  if (!response.ok) {
    throw new DeviceError(
      `${nameOf(url)} is not to be had here (status ${response.status}). Add the parts for this ` +
        "device with `make web`, or run on the server.",
    );
  }
  return response;
}

function changed(url: URL): DeviceError {
  return new DeviceError(
    `${nameOf(url)} is not the file that device.json names. Reload the page; if that does not ` +
      "help, write the parts again with: make web",
  );
}

function nameOf(url: URL): string {
  return url.pathname.split("/").slice(-2).join("/");
}
