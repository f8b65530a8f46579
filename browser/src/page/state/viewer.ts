/** How the radiograph is looked at: place, window, overlay. One for the one picture in view. */

import { batch, effect, signal } from "@preact/signals";
import type { Region } from "../../core";
import { USUAL_OPACITY } from "../drawing/evidence";
import { type GrayWindow, WHOLE_WINDOW } from "../drawing/gray";
import { around, centred, fitted, moved, type Place, type Size, zoomAt } from "../drawing/place";
import { inView } from "./radiographs";

export type Tool = "pan" | "window";

/** What dragging, and the arrow keys, do. */
export const tool = signal<Tool>("pan");
export const grayWindow = signal<GrayWindow>(WHOLE_WINDOW);
export const isOverlayOn = signal(true);
export const areRegionsOn = signal(true);
/** Of the strongest evidence, 0 to 1. */
export const opacity = signal(USUAL_OPACITY);
/** The region that a person points at in the list. */
export const pointedRegion = signal<number | null>(null);

/** In CSS pixels. */
export const viewerSize = signal<Size>({ width: 1, height: 1 });
/** null is the whole picture, however large the viewer becomes. */
const freePlace = signal<Place | null>(null);

const ZOOM_STEP = 1.25;

function pictureSize(): Size {
  return inView.value?.radiograph ?? { width: 1, height: 1 };
}

/** Return where the picture lies now. */
export function placeNow(): Place {
  return freePlace.value ?? fitted(pictureSize(), viewerSize.value);
}

export function isFitted(): boolean {
  return freePlace.value === null;
}

export function zoom(factor: number, at?: { x: number; y: number }): void {
  const { width, height } = viewerSize.value;
  const centre = at ?? { x: width / 2, y: height / 2 };
  freePlace.value = zoomAt(placeNow(), factor, centre, pictureSize(), viewerSize.value);
}

export const zoomIn = () => zoom(ZOOM_STEP);
export const zoomOut = () => zoom(1 / ZOOM_STEP);

export function pan(x: number, y: number): void {
  freePlace.value = moved(placeNow(), { x, y }, pictureSize(), viewerSize.value);
}

export function fitWhole(): void {
  freePlace.value = null;
}

/** Show one pixel of the file as one of the screen. */
export function actualPixels(): void {
  const { scale, left, top } = centred(pictureSize(), viewerSize.value, 1 / devicePixelRatio);
  // On the grid of the screen, or every pixel would be smeared over two.
  const snapped = (px: number) => Math.round(px * devicePixelRatio) / devicePixelRatio;
  freePlace.value = { scale, left: snapped(left), top: snapped(top) };
}

export function zoomTo(region: Region): void {
  freePlace.value = around(region, pictureSize(), viewerSize.value);
}

/** Change the window: wider to the right, brighter upwards, as at a workstation. */
export function changeWindow(across: number, up: number): void {
  const { centre, width, isInverted } = grayWindow.value;
  grayWindow.value = {
    isInverted,
    width: Math.min(510, Math.max(2, width + across)),
    // A lower centre shows the same display value brighter.
    centre: Math.min(255, Math.max(0, centre - up)),
  };
}

export function invert(): void {
  grayWindow.value = { ...grayWindow.value, isInverted: !grayWindow.value.isInverted };
}

export function setOpacity(value: number): void {
  batch(() => {
    opacity.value = Math.min(1, Math.max(0, value));
    isOverlayOn.value = true;
  });
}

/** Return place, window and overlay to how they were. */
export function resetView(): void {
  batch(() => {
    freePlace.value = null;
    grayWindow.value = WHOLE_WINDOW;
    isOverlayOn.value = true;
    areRegionsOn.value = true;
    opacity.value = USUAL_OPACITY;
  });
}

/** Another radiograph starts whole and with its own window; overlay and tool stay as chosen. */
export function followPicture(): void {
  effect(() => {
    if (inView.value === null) return;
    batch(() => {
      freePlace.value = null;
      grayWindow.value = WHOLE_WINDOW;
      pointedRegion.value = null;
    });
  });
}
