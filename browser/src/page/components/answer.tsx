/** What the bundle says of the chosen radiograph, and everything that qualifies it. */

import type { Failure, Prediction } from "../../core";
import { three } from "../format";
import { askAgain } from "../state/items";
import { shownSelected } from "../state/point";
import { current } from "../state/ways";
import { words } from "../words";
import { Facts } from "./facts";
import { Icon } from "./icon";
import { PointChoice } from "./pointChoice";
import { Regions } from "./regions";
import { Scale } from "./scale";

const text = words.answer;

export function Answer() {
  const shown = shownSelected.value;
  return (
    <section class="answer panel" aria-labelledby="answer-heading">
      <h2 id="answer-heading" class="unseen">
        {text.heading}
      </h2>
      {shown && (
        <p class="answer-file" title={shown.item.name}>
          {shown.item.name}
        </p>
      )}
      {shown?.prediction && <Answered prediction={shown.prediction} />}
      {shown?.item.failure && <Failed failure={shown.item.failure} />}
      {!shown && <p class="hint">{text.none}</p>}
      {shown?.item.state === "waiting" && <p class="hint">{text.waiting}</p>}
      {shown?.item.state === "running" && <p class="hint">{text.running}</p>}
      <details class="meaning">
        <summary>{text.meaning}</summary>
        <ul>
          {words.promise.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      </details>
    </section>
  );
}

function Answered({ prediction }: { prediction: Prediction }) {
  const { label, probability, operatingPoint, bundle } = prediction;
  const inUse = current.value?.identity;
  return (
    <>
      <div class="verdict" data-label={label}>
        <p class="verdict-label">{words.labels[label]}</p>
        <p class="verdict-probability">
          <span class="verdict-caption">{text.probability}</span>
          {three(probability)}
        </p>
      </div>
      <Scale prediction={prediction} />
      <p class="hint">{text.rule(operatingPoint)}</p>
      {inUse && inUse.sha256 !== bundle.sha256 && (
        <p class="other-bundle">
          {text.otherBundle}{" "}
          <button type="button" class="link" onClick={() => askAgain({ onlyFailed: false })}>
            {words.list.again}
          </button>
        </p>
      )}
      <Warnings warnings={prediction.warnings} />
      <PointChoice />
      <Regions prediction={prediction} />
      <Facts prediction={prediction} />
    </>
  );
}

function Warnings({ warnings }: { warnings: readonly string[] }) {
  return (
    <section class="part" aria-labelledby="warnings-heading">
      <h3 id="warnings-heading">{text.warnings}</h3>
      {warnings.length === 0 && <p class="hint">{text.noWarnings}</p>}
      <ul class="warnings">
        {warnings.map((warning) => {
          const at = warning.indexOf(":");
          const code = warning.slice(0, at);
          return (
            <li key={code} class="warning" data-code={code}>
              <Icon name="warning" />
              <span>
                <strong>{code}</strong>
                {warning.slice(at)}
              </span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Failed({ failure }: { failure: Failure }) {
  return (
    <div class="failure">
      <Icon name="failed" />
      <div>
        <p class="failure-head">{text.failed}</p>
        <p>{failure.error.message}</p>
        <p class="hint">{failure.error.type}</p>
      </div>
    </div>
  );
}
