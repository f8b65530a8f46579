/** What stands on the page before there is a radiograph. */

import { EXAMPLES, exampleUrl, takeExample } from "../state/arrive";
import { words } from "../words";
import { ChooseFiles } from "./addFiles";
import { ADD_HEADING } from "./removal";

export function Welcome() {
  return (
    <div class="welcome">
      <section class="welcome-add" aria-labelledby={ADD_HEADING}>
        {/* Where the focus goes when the list is emptied: no stop of the tab key. */}
        <h2 id={ADD_HEADING} tabIndex={-1}>
          {words.add.heading}
        </h2>
        <p class="lead">{words.add.lead}</p>
        <ChooseFiles label={words.add.choose} isMain />
        <p class="hint">{words.add.bundleHint}</p>
      </section>
      <section aria-labelledby="examples-heading">
        <h2 id="examples-heading">{words.add.examples}</h2>
        <ul class="examples">
          {EXAMPLES.map(({ name, label }, index) => (
            <li key={name}>
              <button type="button" class="example" onClick={() => void takeExample(name)}>
                <img src={exampleUrl(name)} alt="" loading="lazy" decoding="async" />
                <span class="example-words">
                  <strong>{words.add.example(index + 1)}</strong> {words.add.exampleLabel(label)}
                </span>
              </button>
            </li>
          ))}
        </ul>
        <p class="hint">{words.add.exampleCredit}</p>
      </section>
      <section class="welcome-promise" aria-labelledby="promise-heading">
        <h2 id="promise-heading">{words.about.meaning}</h2>
        <ul>
          {words.promise.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      </section>
    </div>
  );
}
