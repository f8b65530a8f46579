/**
 * The files to run on this device, kept by their hash. device.json says which hash is right, and
 * for the bundle bundle.onnx.sha256 does; both are asked for anew whenever there is a network.
 */

const CACHE = "pneumoscope-device";
const LIST = "device.json";
const HASH_SUFFIX = ".sha256";
/** As `sha256sum` writes it: the hash, and mostly the file's name after it. */
const HASH_LINE = /^[0-9a-f]{64}(\s|$)/;

interface DeviceList {
  files: Record<string, { sha256: string }>;
  bundle: string;
}

/** Return a file of the device folder: kept if it is the right one, else from the network. */
export async function findDeviceFile(href: string, request: Request): Promise<Response> {
  const folder = href.slice(0, href.lastIndexOf("/") + 1);
  const name = href.slice(folder.length);
  if (name === LIST || name.endsWith(HASH_SUFFIX)) return findFresh(href);
  const sha256 = await readHashes(folder).then(
    (hashes) => hashes.get(name),
    () => undefined, // no list: the host answers as it likes
  );
  const cache = await caches.open(CACHE);
  const kept = sha256 && (await cache.match(keyOf(href, sha256)));
  return kept || fetch(request);
}

/**
 * Keep every file to run on this device, and let go of those that are no longer in use.
 *
 * @throws Error a file is missing, or its bytes are not those of its hash.
 */
export async function keepDeviceFiles(folder: string): Promise<void> {
  const cache = await caches.open(CACHE);
  const wanted = new Set<string>();
  for (const [name, sha256] of await readHashes(folder)) {
    const key = keyOf(folder + name, sha256);
    wanted.add(key);
    if (await cache.match(key)) continue;
    // Asked for anew only if it has changed: the page has just fetched it.
    const reply = await fetch(folder + name, { cache: "no-cache" });
    const bytes = await reply.clone().arrayBuffer();
    if (!reply.ok || (await hash(bytes)) !== sha256) {
      throw new Error(`${name} could not be kept: its bytes are not those of its hash`);
    }
    await cache.put(key, reply);
  }
  for (const { url } of await cache.keys()) {
    if (url.includes("?") && !wanted.has(url)) await cache.delete(url);
  }
}

/** Return a small file as it is now, or as it was when the host last answered. */
async function findFresh(href: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  let reply: Response;
  try {
    reply = await fetch(href, { cache: "no-cache" });
  } catch (error) {
    const kept = await cache.match(href);
    if (kept) return kept;
    throw error;
  }
  if (await isWhole(href, reply)) {
    await cache.put(href, reply.clone());
    return reply;
  }
  // A proxy answers 502 for a server that is stopped, and a login page answers 200 for anything.
  const isFromElsewhere = reply.ok || reply.status >= 500;
  return (isFromElsewhere && (await cache.match(href))) || reply;
}

/** Return whether a reply is the small file itself; it can still be read afterwards. */
async function isWhole(href: string, reply: Response): Promise<boolean> {
  if (!reply.ok || reply.redirected) return false;
  const text = await reply.clone().text();
  if (href.endsWith(HASH_SUFFIX)) return HASH_LINE.test(text);
  try {
    const { files, bundle } = JSON.parse(text) as Partial<DeviceList>;
    const hashes = Object.values(files ?? {}).map((file) => file?.sha256);
    return typeof bundle === "string" && hashes.length > 0 && hashes.every(isHash);
  } catch {
    return false;
  }
}

function isHash(value: unknown): boolean {
  return typeof value === "string" && HASH_LINE.test(value);
}

/** Return the hash of each file, by name. */
async function readHashes(folder: string): Promise<Map<string, string>> {
  const { files, bundle } = (await (await findFresh(folder + LIST)).json()) as DeviceList;
  const line = await (await findFresh(folder + bundle + HASH_SUFFIX)).text();
  const hashes = new Map(Object.entries(files).map(([name, { sha256 }]) => [name, sha256]));
  return hashes.set(bundle, line.split(" ")[0]);
}

function keyOf(href: string, sha256: string): string {
  return `${href}?sha256=${sha256}`;
}

async function hash(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
