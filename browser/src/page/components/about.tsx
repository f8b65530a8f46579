/** The bundle's card in plain words. */

import type { ComponentChildren } from "preact";
import type { BundleCard } from "../../core";
import { percent, three } from "../format";
import { cardInSight, shownSelected } from "../state/point";
import { current } from "../state/ways";
import { words } from "../words";
import { Dialog } from "./dialog";

const text = words.about;

export function About() {
  const card = cardInSight.value;
  const sha256 = shownSelected.value?.prediction?.bundle.sha256 ?? current.value?.identity.sha256;
  return (
    <Dialog name="about" heading={text.heading}>
      {card ? <Card card={card} sha256={sha256 ?? ""} /> : <p>{text.none}</p>}
    </Dialog>
  );
}

function Card({ card, sha256 }: { card: BundleCard; sha256: string }) {
  const { calibration, training_data: data, population, atypicality } = card;
  const facts = [
    population.description,
    population.age_years && text.ages(...population.age_years),
    population.view_positions && text.views(population.view_positions),
  ];
  return (
    <>
      <p>
        <strong>
          {card.name} {card.version}
        </strong>{" "}
        {card.title}
      </p>
      <p class="about-use">{card.intended_use}</p>
      <Part heading={text.meaning}>
        <Sentences of={words.promise} />
      </Part>
      <Part heading={text.limits}>
        <Sentences of={card.limits} />
      </Part>
      <Part heading={text.warnings}>
        <p>{text.warningsLead}</p>
        <p>{text.atypical(atypicality.threshold, atypicality.share_flagged_on_tuning)}</p>
      </Part>
      <Points card={card} />
      <Results card={card} />
      <dl class="facts">
        <dt>{text.trained}</dt>
        <dd>{text.trainedOn(data.n_training, data.n_tuning, data.name)}</dd>
        <dt>{text.population}</dt>
        <dd>{facts.filter(Boolean).join("; ")}</dd>
        <dt>{text.recipe}</dt>
        <dd>
          {card.recipe}, {text.seed(card.seed)}, {card.precision}, {text.size(card.size_px)},{" "}
          {card.map_kind}
        </dd>
        <dt>{text.calibration}</dt>
        <dd>{text.calibrated(calibration)}</dd>
        <dt>{text.hash}</dt>
        <dd>
          <code>{sha256}</code>
        </dd>
        <dt>{text.licence}</dt>
        <dd>{card.licence}</dd>
        <dt>{text.attribution}</dt>
        <dd>{card.attribution}</dd>
      </dl>
    </>
  );
}

function Part({ heading, children }: { heading: string; children: ComponentChildren }) {
  return (
    <section class="part">
      <h3>{heading}</h3>
      {children}
    </section>
  );
}

function Sentences({ of: sentences }: { of: readonly string[] }) {
  return (
    <ul>
      {sentences.map((sentence) => (
        <li key={sentence}>{sentence}</li>
      ))}
    </ul>
  );
}

function Points({ card }: { card: BundleCard }) {
  const share = (value: number, interval: [number, number] | null | undefined) =>
    `${percent(value)}${interval ? ` (${text.interval(...interval)})` : ""}`;
  return (
    <Part heading={text.points}>
      <p>{text.pointsLead}</p>
      <Figures columns={[text.name, text.threshold, text.sensitivity, text.specificity, text.on]}>
        {card.operating_points.map((point) => (
          <tr key={point.name}>
            <th scope="row">{point.name}</th>
            <td>{three(point.threshold)}</td>
            <td>{share(point.sensitivity, point.sensitivity_interval)}</td>
            <td>{share(point.specificity, point.specificity_interval)}</td>
            <td>{point.measured_on}</td>
          </tr>
        ))}
      </Figures>
    </Part>
  );
}

function Results({ card }: { card: BundleCard }) {
  return (
    <>
      {card.results.map(({ dataset, split, n, figures }) => (
        <Part key={`${dataset} ${split}`} heading={text.resultOf(dataset, split, n)}>
          <Figures columns={[text.figure, text.value, text.ninetyFive]}>
            {Object.entries(figures).map(([name, { value, low, high }]) => (
              <tr key={name}>
                <th scope="row">{name.replaceAll("_", " ")}</th>
                <td>{three(value)}</td>
                <td>{text.range(low, high)}</td>
              </tr>
            ))}
          </Figures>
        </Part>
      ))}
    </>
  );
}

/** A table of figures; it scrolls by itself where the screen is narrow. */
function Figures(props: { columns: readonly string[]; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <div class="figures" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  );
}
