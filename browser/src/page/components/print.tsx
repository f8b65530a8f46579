/** What comes out on paper: one card a radiograph. It exists only while the browser prints. */

import { render } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Prediction } from "../../core";
import { spanOf } from "../drawing/evidence";
import { type GrayPicture, WHOLE_WINDOW } from "../drawing/gray";
import { paintEvidence, paintPicture } from "../drawing/layers";
import { drawScene } from "../drawing/scene";
import { shortHash, three } from "../format";
import { cardInSight, type ShownItem, shownItems } from "../state/point";
import { opacity } from "../state/viewer";
import { words } from "../words";
import { Bar } from "./legend";
import { Scale } from "./scale";

const text = words.answer;

/** Fill a part of the page whenever the browser is about to print, also by its own menu. */
export function listenToPrinting(place: Element): void {
  // `render` draws at once, so that all is there when this event is over.
  window.addEventListener("beforeprint", () => render(<Sheet />, place));
  window.addEventListener("afterprint", () => render(null, place));
}

export function printAnswers(): void {
  print();
}

function Sheet() {
  const population = cardInSight.value?.population.description;
  return (
    <div class="sheet">
      <h1>{words.print.heading}</h1>
      <p>
        <strong>{words.research.short}</strong>{" "}
        {population ? words.research.population(population) : words.research.usual}{" "}
        {words.print.written(new Date().toLocaleString("en-GB"))}
      </p>
      {shownItems.value.map((shown) => (
        <PrintedCard key={shown.item.id} shown={shown} />
      ))}
    </div>
  );
}

function PrintedCard({ shown: { item, prediction } }: { shown: ShownItem }) {
  if (item.failure) {
    return (
      <article class="printed">
        <h2>{item.name}</h2>
        <p>
          {text.failed}: {item.failure.error.message}
        </p>
      </article>
    );
  }
  if (!prediction || !item.small) return null;
  const { label, probability, operatingPoint, warnings, bundle } = prediction;
  return (
    <article class="printed">
      <Picture small={item.small} prediction={prediction} />
      <div>
        <h2>{item.name}</h2>
        <p class="printed-verdict">
          {words.labels[label]} <span>{three(probability)}</span>
        </p>
        <Scale prediction={prediction} />
        <p>{text.rule(operatingPoint)}</p>
        <h3>{text.warnings}</h3>
        {warnings.length === 0 && <p>{text.noWarnings}</p>}
        <ul>
          {warnings.map((warning) => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
        <p class="printed-facts">
          {bundle.name} {bundle.version}, {shortHash(bundle.sha256)}; {text.file.toLowerCase()}{" "}
          {shortHash(prediction.sha256)}; {text.milliseconds(prediction.milliseconds)}{" "}
          {text.where[prediction.where]}
        </p>
        <p class="printed-use">
          <strong>{words.research.short}</strong> {words.promise[1]}
        </p>
      </div>
    </article>
  );
}

function Picture({ small, prediction }: { small: GrayPicture; prediction: Prediction }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const span = spanOf(prediction);
  useLayoutEffect(() => {
    if (!canvas.current) return;
    const { image } = prediction;
    drawScene(canvas.current, {
      size: small,
      pixelRatio: 1,
      place: { scale: small.width / image.width, left: 0, top: 0 },
      picture: image,
      gray: paintPicture(small, WHOLE_WINDOW),
      evidence: paintEvidence(prediction),
      opacity: opacity.value,
      regions: prediction.regions,
      pointed: null,
    });
  });
  return (
    <figure>
      <canvas ref={canvas} />
      <Bar span={span} opacity={opacity.value} />
      <figcaption>
        {words.viewer.legend}: {words.print.span(span.low, span.high)}
      </figcaption>
    </figure>
  );
}
