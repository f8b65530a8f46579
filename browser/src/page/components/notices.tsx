/** The notice above the work, and what is read aloud. */

import { announcement, notice } from "../state/announce";
import { words } from "../words";
import { Button } from "./button";

export function Notices() {
  const shown = notice.value;
  return (
    <>
      <output class="unseen" aria-live="polite">
        {announcement.value}
      </output>
      <div role="alert">
        {shown && (
          <div class="notice" data-kind={shown.kind}>
            <p>{shown.text}</p>
            {shown.action && (
              <button type="button" class="button" onClick={shown.action.run}>
                {shown.action.label}
              </button>
            )}
            <Button
              icon="close"
              label={words.dismiss}
              onPress={() => {
                notice.value = null;
              }}
            />
          </div>
        )}
      </div>
    </>
  );
}
