/** Dark or light; and whether single keys are commands. Both are remembered. */

import { effect, signal } from "@preact/signals";
import { recall, remember } from "./preferences";

const THEMES = ["dark", "light"] as const;
export type Theme = (typeof THEMES)[number];

/** Dark unless chosen otherwise: radiographs are read in dim rooms. */
export const theme = signal<Theme>(recall("theme", THEMES) ?? "dark");

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  remember("theme", theme.value);
}

/** Single-letter keys get in the way of speech input, so they can be turned off (WCAG 2.1.4). */
export const areKeysOn = signal(recall("keys", ["on", "off"]) !== "off");

export function setKeysOn(isOn: boolean): void {
  areKeysOn.value = isOn;
  remember("keys", isOn ? "on" : "off");
}

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});
