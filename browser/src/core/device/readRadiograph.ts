/** Read a radiograph in a worker, so that the page stays at hand meanwhile. */

import type { Radiograph } from "../types";
import { WorkerClient } from "./workerClient";

let reader: WorkerClient | null = null;

/**
 * Read a JPEG, PNG, BMP, WebP or DICOM file, by its first bytes and not by its name.
 *
 * @param name What to call it in messages.
 * @throws ReadError damaged, cut short, too large, or of a kind that has no fixed gray meaning.
 */
export function readRadiograph(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<Radiograph> {
  if (reader === null || reader.isStopped) reader = new WorkerClient();
  return reader.call("read", { base: document.baseURI, bytes, name });
}
