/**
 * The colour of the evidence, as src/pneumoscope/imaging/overlay.py lays it on the radiograph.
 *
 * Two things differ from there, neither by more than a gray level or two at the usual opacity:
 * the colours are worked out on at most `MAX_SIDE_PX` a side and the canvas enlarges the rest (a
 * map has some six positions a side, so that nothing is lost); and the opacity slider scales what
 * overlay.py draws at `USUAL_OPACITY`.
 */

import type { Prediction } from "../../core";
import { COLOURS } from "./colourMap";
import { resampleBicubic } from "./resample";

export const MAX_SIDE_PX = 1024;
/** The legend reaches at least this far, so that weak evidence looks weak. */
const MIN_SPAN_LOGIT = 4;
/** Anatomy stays visible under the strongest evidence. */
export const USUAL_OPACITY = 0.5;
/** Share of the legend's span from which opacity stops growing. */
const FULL_AT = 0.5;

/** The span of the legend, in logits: from the operating point to the strongest evidence. */
export interface Span {
  low: number;
  high: number;
}

/** Evidence at the resolution that it is drawn at: (height * width), in logits. */
export interface SmoothEvidence {
  height: number;
  width: number;
  values: Float32Array<ArrayBuffer>;
}

/** Return what the logit would be if the whole radiograph looked as each place does: (h * w). */
export function localLogits({ map, logit }: Prediction): Float32Array<ArrayBuffer> {
  const mean = map.values.reduce((sum, value) => sum + value, 0) / map.values.length;
  const shift = Math.fround(logit - mean);
  return map.values.map((value) => value + shift);
}

/** Return the legend's span at the prediction's operating point. */
export function spanOf(prediction: Prediction): Span {
  const local = localLogits(prediction);
  const { thresholdLogit } = prediction.map;
  const low = Number.isFinite(thresholdLogit) ? thresholdLogit : Math.min(...local);
  return { low, high: Math.max(low + MIN_SPAN_LOGIT, ...local) };
}

/** Return the evidence enlarged to the picture's shape, or smaller by one factor. */
export function smoothEvidence(prediction: Prediction): SmoothEvidence {
  const { height, width } = prediction.image;
  const scale = Math.min(1, MAX_SIDE_PX / Math.max(height, width));
  const size = {
    height: Math.max(1, Math.round(height * scale)),
    width: Math.max(1, Math.round(width * scale)),
  };
  return { ...size, values: resampleBicubic(localLogits(prediction), prediction.map, size) };
}

/** Return (n * 4) red, green, blue, alpha for n values in logits; alpha 255 is drawn in full. */
export function colourEvidence(
  values: Float32Array,
  { low, high }: Span,
): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(4 * values.length);
  for (let at = 0; at < values.length; at++) {
    const share = (values[at] - low) / (high - low);
    const step = Math.min(255, Math.max(0, Math.trunc(255 * share + 0.5)));
    out[4 * at] = COLOURS[3 * step];
    out[4 * at + 1] = COLOURS[3 * step + 1];
    out[4 * at + 2] = COLOURS[3 * step + 2];
    out[4 * at + 3] = 255 * Math.min(1, step / 255 / FULL_AT);
  }
  return out;
}

/** Return the legend's marks: steps of 1, 2 or 5 times a power of ten, at most six. */
export function ticksOf({ low, high }: Span): number[] {
  const power = 10 ** Math.floor(Math.log10((high - low) / 6));
  const steps = [1, 2, 5, 10, 20].map((factor) => power * factor);
  const step = steps.find((each) => (high - low) / each <= 6) ?? steps[4];
  const ticks = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick++) {
    ticks.push(Number((tick * step).toPrecision(6)));
  }
  return ticks;
}
