/** From logits to calibrated probabilities and back; repeats detector/logit_scale.py. */

import type { Calibration } from "./types";

type Scale = Pick<Calibration, "temperature" | "bias">;

/** Return the probability of a logit, in [0, 1]. */
export function toProbability(logit: number, { temperature, bias }: Scale): number {
  const scaled = (logit + bias) / temperature;
  // Two forms, because exp of a large positive number overflows.
  if (scaled >= 0) return 1 / (1 + Math.exp(-scaled));
  return Math.exp(scaled) / (1 + Math.exp(scaled));
}

/** Return the uncalibrated logit of a calibrated probability; infinite at 0 and 1. */
export function toLogit(probability: number, { temperature, bias }: Scale): number {
  if (probability <= 0) return -Infinity;
  if (probability >= 1) return Infinity;
  const scaled = Math.log(probability) - Math.log1p(-probability);
  return scaled * temperature - bias;
}
