/** The list of keys, and the switch that turns them off. */

import { areKeysOn, setKeysOn } from "../state/appearance";
import { words } from "../words";
import { Dialog } from "./dialog";

const text = words.keys;

export function Keys() {
  return (
    <Dialog name="keys" heading={text.heading}>
      <label class="switch">
        <input
          type="checkbox"
          checked={areKeysOn.value}
          onChange={(event) => setKeysOn(event.currentTarget.checked)}
        />
        {text.toggle}
      </label>
      <p class="hint">{text.hint}</p>
      <dl class="keys">
        {text.rows.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">{text.mouse}</p>
    </Dialog>
  );
}
