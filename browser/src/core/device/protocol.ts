/** What the page and its worker say to each other. */

import { BundleError, DeviceError, PneumoscopeError, ReadError, UsageError } from "../errors";
import type { Answer, BundleCard, BundleIdentity, Progress, Radiograph } from "../types";

/** One request's words, and what is answered to it. */
export interface Calls {
  open: {
    request: { base: string; bundleBytes: ArrayBuffer | null };
    reply: { card: BundleCard; identity: BundleIdentity; threads: number };
  };
  predict: {
    request: { bytes: Uint8Array<ArrayBuffer>; name: string; operatingPointName: string | null };
    reply: Answer;
  };
  read: {
    request: { base: string; bytes: Uint8Array<ArrayBuffer>; name: string };
    reply: Radiograph;
  };
}

export type CallName = keyof Calls;

export type Request = {
  [Name in CallName]: { id: number; call: Name; words: Calls[Name]["request"] };
}[CallName];

export type Reply =
  | { id: number; kind: "answer"; value: Calls[CallName]["reply"] }
  | { id: number; kind: "error"; type: string; message: string }
  | { id: number; kind: "progress"; progress: Progress };

/** Return an error's type and words, so that they can be sent. */
export function describeError(error: unknown): { type: string; message: string } {
  if (error instanceof PneumoscopeError) return { type: error.type, message: error.message };
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return { type: "DeviceError", message: `${name}: ${message}. Reload the page, or report this.` };
}

/** Return the error that was sent, as its own class again. */
export function restoreError(type: string, message: string): PneumoscopeError {
  switch (type) {
    case "UnreadableImageError":
    case "ImageTooLargeError":
    case "MemoryError":
      return new ReadError(type, message);
    case "BundleError":
      return new BundleError(message);
    case "UsageError":
      return new UsageError(message);
    default:
      return new DeviceError(message);
  }
}
