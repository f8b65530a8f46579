/** What a screen reader is told, and the one notice that can stand above the work. */

import { signal } from "@preact/signals";

/** Read aloud when it changes; never seen. */
export const announcement = signal("");

export interface Notice {
  text: string;
  kind: "info" | "problem";
  /** A button beside the words. */
  action?: { label: string; run: () => void };
}

/** Seen above the work until it is dismissed or replaced. */
export const notice = signal<Notice | null>(null);

export function announce(text: string): void {
  announcement.value = text;
}

export function tell(text: string, kind: Notice["kind"] = "info", action?: Notice["action"]): void {
  notice.value = { text, kind, ...(action && { action }) };
}
