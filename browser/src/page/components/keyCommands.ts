/** Keys that are commands; `words.keys.rows` lists them for people. */

import { areKeysOn } from "../state/appearance";
import { selectNeighbour } from "../state/order";
import { nextPoint } from "../state/point";
import {
  actualPixels,
  areRegionsOn,
  changeWindow,
  fitWhole,
  invert,
  isOverlayOn,
  opacity,
  pan,
  resetView,
  setOpacity,
  tool,
  zoomIn,
  zoomOut,
} from "../state/viewer";
import { isDialogOpen, openDialog } from "./dialog";

const OPACITY_STEP = 0.1;
const PAN_PX = 40;
const WINDOW_STEP = 8;

const COMMANDS: Record<string, () => void> = {
  o: () => {
    isOverlayOn.value = !isOverlayOn.value;
  },
  "[": () => setOpacity(opacity.value - OPACITY_STEP),
  "]": () => setOpacity(opacity.value + OPACITY_STEP),
  b: () => {
    areRegionsOn.value = !areRegionsOn.value;
  },
  p: () => {
    tool.value = "pan";
  },
  w: () => {
    tool.value = "window";
  },
  "+": zoomIn,
  "=": zoomIn, // the same key without shift on many keyboards
  "-": zoomOut,
  f: fitWhole,
  "1": actualPixels,
  i: invert,
  r: resetView,
  t: nextPoint,
  j: () => selectNeighbour(1),
  k: () => selectNeighbour(-1),
  "?": () => openDialog("keys"),
};

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Listen to single keys everywhere but where a person writes. */
export function listenToKeys(): void {
  window.addEventListener("keydown", (event) => {
    if (!areKeysOn.value || isDialogOpen() || hasModifier(event) || isWriting(event.target)) return;
    const command = COMMANDS[event.key.toLowerCase()];
    if (!command) return;
    event.preventDefault();
    command();
  });
}

/** Arrow keys on the radiograph itself do what dragging does. */
export function handleViewerKey(event: KeyboardEvent): void {
  const arrow = ARROWS[event.key];
  if (!arrow || hasModifier(event)) return;
  event.preventDefault();
  const [x, y] = arrow;
  if (tool.value === "pan") pan(-x * PAN_PX, -y * PAN_PX);
  else changeWindow(x * WINDOW_STEP, -y * WINDOW_STEP);
}

function hasModifier(event: KeyboardEvent): boolean {
  return event.ctrlKey || event.metaKey || event.altKey;
}

function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement && ["text", "password", "file"].includes(target.type);
}
