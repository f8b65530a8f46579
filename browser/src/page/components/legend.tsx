/** The colours of the evidence over a mid-gray, as they look on the radiograph, in logits. */

import { useLayoutEffect, useRef } from "preact/hooks";
import type { Prediction } from "../../core";
import { colourEvidence, type Span, spanOf, ticksOf } from "../drawing/evidence";
import { isOverlayOn, opacity } from "../state/viewer";
import { words } from "../words";

const N_STEPS = 256;
const MID_GRAY = 96;

export function Legend({ prediction }: { prediction: Prediction }) {
  const span = spanOf(prediction);
  const { low, high } = span;
  return (
    <figure class="legend" data-off={!isOverlayOn.value}>
      <figcaption>{words.viewer.legend}</figcaption>
      <div class="legend-scale">
        <Bar span={span} opacity={opacity.value} />
        <div class="legend-ticks" aria-hidden="true">
          {ticksOf(span).map((tick) => (
            <span key={tick} style={{ left: `${(100 * (tick - low)) / (high - low)}%` }}>
              {tick.toLocaleString("en")}
            </span>
          ))}
        </div>
      </div>
    </figure>
  );
}

/** The bar alone, at an opacity. */
export function Bar({ span, opacity: share }: { span: Span; opacity: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { low, high } = span;
  useLayoutEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const step = (high - low) / (N_STEPS - 1);
    const values = Float32Array.from({ length: N_STEPS }, (_, at) => low + at * step);
    const rgba = colourEvidence(values, { low, high });
    for (let at = 0; at < rgba.length; at += 4) {
      const alpha = (rgba[at + 3] / 255) * share;
      for (let channel = at; channel < at + 3; channel++) {
        rgba[channel] = rgba[channel] * alpha + MID_GRAY * (1 - alpha);
      }
      rgba[at + 3] = 255;
    }
    context.putImageData(new ImageData(rgba, N_STEPS, 1), 0, 0);
  }, [low, high, share]);
  return (
    <canvas
      ref={canvas}
      class="legend-bar"
      width={N_STEPS}
      height={1}
      role="img"
      aria-label={words.viewer.legendSpan(low, high)}
    />
  );
}
