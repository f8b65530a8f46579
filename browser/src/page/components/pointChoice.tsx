/** Choose the operating point; the answers follow at once, without asking the network again. */

import type { OperatingPoint } from "../../core";
import { three } from "../format";
import { cardInSight, chosenPoint, pointInSight } from "../state/point";
import { words } from "../words";

const text = words.answer;
const SPLITS = ["training", "tuning", "test"];

export function PointChoice() {
  return (
    <fieldset class="part points">
      <legend>{text.point}</legend>
      {cardInSight.value?.operating_points.map((point) => (
        <label key={point.name} class="point">
          <input
            type="radio"
            name="point"
            value={point.name}
            checked={point.name === pointInSight.value?.name}
            onChange={() => {
              chosenPoint.value = point.name;
            }}
          />
          <span class="point-name">
            {point.name} <span class="point-threshold">{three(point.threshold)}</span>
          </span>
          <span class="hint">
            {text.pointFigures(point)}, {measured(point)}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

function measured({ measured_on: where }: OperatingPoint): string {
  return SPLITS.includes(where) ? text.pointMeasured(where) : text.pointElsewhere(where);
}
