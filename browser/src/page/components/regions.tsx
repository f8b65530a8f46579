/** The regions in words; pointing at one marks its box, choosing it zooms there. */

import type { Prediction } from "../../core";
import { pointedRegion, zoomTo } from "../state/viewer";
import { words } from "../words";

const text = words.answer;

export function Regions({ prediction }: { prediction: Prediction }) {
  const point = (index: number | null) => () => {
    pointedRegion.value = index;
  };
  return (
    <section class="part" aria-labelledby="regions-heading">
      <h3 id="regions-heading">{text.regions}</h3>
      {prediction.regions.length === 0 && <p class="hint">{text.noRegions}</p>}
      <ol>
        {prediction.regions.map((region, index) => (
          <li key={`${region.x} ${region.y}`}>
            <button
              type="button"
              class="region"
              title={text.regionZoom}
              onMouseEnter={point(index)}
              onMouseLeave={point(null)}
              onFocus={point(index)}
              onBlur={point(null)}
              onClick={() => zoomTo(region)}
            >
              <span>{text.region(index + 1)}</span>
              <span class="hint">{text.regionPlace(region)}</span>
              <span class="region-score">{region.score.toFixed(2)}</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
