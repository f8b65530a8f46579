/** SHA-256 in lower-case hexadecimal, as sha256sum writes it. */

import { sha256 as hashInScript } from "@noble/hashes/sha2.js";

/** Return the hash of the bytes. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  // The browser's own is quicker, and missing where a page comes by plain HTTP from another host.
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
    : hashInScript(bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
