/** The page's end of a worker: calls go in, promises come out. */

import { DeviceError } from "../errors";
import type { Progress } from "../types";
import { type CallName, type Calls, type Reply, type Request, restoreError } from "./protocol";

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
  onProgress: ((progress: Progress) => void) | undefined;
}

export class WorkerClient {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 0;
  private stopped: DeviceError | null = null;
  /** Told when the worker stops by itself, before the calls that still wait fail. */
  onCrash: ((error: DeviceError) => void) | null = null;

  constructor() {
    this.worker = new Worker(new URL("./worker.ts", import.meta.url), {
      type: "module",
      name: "pneumoscope",
    });
    this.worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => this.receive(data));
    this.worker.addEventListener("error", (event) => {
      const reason = event.message || "its script could not be loaded";
      const error = new DeviceError(
        `The worker of this page stopped (${reason}). Try again, or reload the page.`,
      );
      if (!this.isStopped) this.onCrash?.(error);
      this.stop(error);
    });
  }

  get isStopped(): boolean {
    return this.stopped !== null;
  }

  /** Ask the worker; what is in `transfer` is handed over and empty here afterwards. */
  call<Name extends CallName>(
    call: Name,
    words: Calls[Name]["request"],
    {
      transfer = [],
      onProgress,
    }: { transfer?: Transferable[]; onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): Promise<Calls[Name]["reply"]> {
    if (this.stopped) return Promise.reject(this.stopped);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onProgress });
      this.worker.postMessage({ id, call, words } as Request, transfer);
    });
  }

  /** End the worker; calls that still wait fail, and so do later ones. */
  close(): void {
    this.stop(new DeviceError("The detector was closed. Open it again."));
  }

  private receive(reply: Reply): void {
    const waiting = this.waiting.get(reply.id);
    if (!waiting) return;
    if (reply.kind === "progress") {
      waiting.onProgress?.(reply.progress);
      return;
    }
    this.waiting.delete(reply.id);
    if (reply.kind === "answer") waiting.resolve(reply.value as never);
    else waiting.reject(restoreError(reply.type, reply.message));
  }

  private stop(error: DeviceError): void {
    this.stopped = error;
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
