/** Answers on this device alone: no request carries a picture. */

import type { DeviceError } from "../errors";
import type { Answer, BundleCard, BundleIdentity, Detector, DeviceOptions } from "../types";
import { WorkerClient } from "./workerClient";

/** A bundle that runs in a worker of this page. */
export class DeviceDetector implements Detector {
  readonly where = "device";

  private constructor(
    private readonly client: WorkerClient,
    readonly card: BundleCard,
    readonly identity: BundleIdentity,
    /** Threads that share one radiograph; 1 where the page is not cross-origin isolated. */
    readonly threads: number,
  ) {}

  /**
   * Fetch the runtime and the bundle, start both and warm them up.
   *
   * @throws DeviceError the parts are not there, or cannot run here.
   * @throws BundleError the bundle is damaged, changed, too new, or none.
   */
  static async open(options: DeviceOptions): Promise<DeviceDetector> {
    const { base, bundleBytes, onProgress, signal } = options;
    signal?.throwIfAborted();
    const client = new WorkerClient();
    const giveUp = () => client.close();
    signal?.addEventListener("abort", giveUp);
    try {
      const { card, identity, threads } = await client.call(
        "open",
        { base: base.href, bundleBytes: bundleBytes ?? null },
        { transfer: bundleBytes ? [bundleBytes] : [], onProgress },
      );
      return new DeviceDetector(client, card, identity, threads);
    } catch (error) {
      client.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Have a crash told, before what was asked fails of it; nothing can be asked afterwards. */
  set onCrash(listener: (error: DeviceError) => void) {
    this.client.onCrash = listener;
  }

  predict(
    bytes: Uint8Array<ArrayBuffer>,
    name: string,
    operatingPointName?: string,
  ): Promise<Answer> {
    return this.client.call("predict", {
      bytes,
      name,
      operatingPointName: operatingPointName ?? null,
    });
  }

  close(): void {
    this.client.close();
  }
}
