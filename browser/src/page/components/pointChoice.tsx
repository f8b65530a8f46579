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
      {cardInSight.value?.operating_points.some(isAboveBalanced) && (
        <p class="hint">{text.pointAbove}</p>
      )}
    </fieldset>
  );
}

/** Whether the point of this name calls fewer pneumonia than the balanced one, against its name. */
function isAboveBalanced({ name, threshold }: OperatingPoint): boolean {
  const balanced = cardInSight.value?.operating_points.find((point) => point.name === "balanced");
  return name === "sensitive" && balanced !== undefined && threshold > balanced.threshold;
}

function measured({ measured_on: where }: OperatingPoint): string {
  return SPLITS.includes(where) ? text.pointMeasured(where) : text.pointElsewhere(where);
}
