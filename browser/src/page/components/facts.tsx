/** How long it took, which bundle answered, and what is known of the file. */

import type { Prediction } from "../../core";
import { shortHash } from "../format";
import { cardOf } from "../state/point";
import { selectedRadiograph } from "../state/radiographs";
import { words } from "../words";

const text = words.answer;

export function Facts({ prediction }: { prediction: Prediction }) {
  const { bundle, milliseconds, where, image, sha256, atypicality } = prediction;
  const threshold = cardOf(prediction)?.atypicality.threshold;
  const radiograph = selectedRadiograph.value;
  return (
    <section class="part" aria-labelledby="facts-heading">
      <h3 id="facts-heading">{text.facts}</h3>
      <dl class="facts">
        <dt>{text.time}</dt>
        <dd>
          {text.milliseconds(milliseconds)}, {text.where[where]}
        </dd>
        <dt>{text.bundle}</dt>
        <dd>
          {bundle.name} {bundle.version}{" "}
          <code title={bundle.sha256}>{shortHash(bundle.sha256)}</code>
        </dd>
        <dt>{text.file}</dt>
        <dd>
          {text.pixels(image)} <code title={sha256}>{shortHash(sha256)}</code>
        </dd>
        {threshold !== undefined && (
          <>
            <dt>{text.atypicality}</dt>
            <dd>{text.atypicalityValue(atypicality, threshold)}</dd>
          </>
        )}
        <Fact name={text.age} value={radiograph?.ageYears ?? null} say={text.years} />
        <Fact name={text.sex} value={radiograph?.sex ?? null} say={String} />
        <Fact name={text.view} value={radiograph?.viewPosition ?? null} say={String} />
        <Fact name={text.modality} value={radiograph?.modality ?? null} say={String} />
      </dl>
    </section>
  );
}

/** A fact that only some files state. */
function Fact<T>(props: { name: string; value: T | null; say: (value: T) => string }) {
  const { name, value, say } = props;
  if (value === null) return null;
  return (
    <>
      <dt>{name}</dt>
      <dd>{say(value)}</dd>
    </>
  );
}
