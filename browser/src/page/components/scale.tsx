/** The calibrated probability on a scale from 0 to 1, with the operating point marked. */

import type { Prediction } from "../../core";
import { three } from "../format";
import { words } from "../words";

export function Scale({ prediction }: { prediction: Prediction }) {
  const { probability, label, operatingPoint } = prediction;
  const { threshold } = operatingPoint;
  return (
    <div class="scale" role="img" aria-label={words.answer.scale(prediction)} data-label={label}>
      <div class="scale-track">
        <div class="scale-above" style={{ left: `${100 * threshold}%` }} />
        <div class="scale-fill" style={{ width: `${100 * probability}%` }} />
        <div class="scale-point" style={{ left: `${100 * threshold}%` }} />
        <div class="scale-needle" style={{ left: `${100 * probability}%` }} />
      </div>
      <div class="scale-marks">
        <span>0</span>
        <span class="scale-threshold" style={{ left: `clamp(7%, ${100 * threshold}%, 92%)` }}>
          {three(threshold)}
        </span>
        <span>1</span>
      </div>
    </div>
  );
}
