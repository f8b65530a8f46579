/** The tools of the viewer, each also on a key. */

import {
  actualPixels,
  areRegionsOn,
  fitWhole,
  grayWindow,
  invert,
  isOverlayOn,
  opacity,
  resetView,
  setOpacity,
  tool,
  zoomIn,
  zoomOut,
} from "../state/viewer";
import { words } from "../words";
import { Button } from "./button";

const text = words.viewer;

export function Toolbar({ isDisabled }: { isDisabled: boolean }) {
  return (
    <fieldset class="toolbar" disabled={isDisabled}>
      <legend class="unseen">{text.tools}</legend>
      <div class="tool-group">
        <Button
          icon="pan"
          label={text.pan}
          keyName="P"
          isPressed={tool.value === "pan"}
          onPress={() => {
            tool.value = "pan";
          }}
        />
        <Button
          icon="window"
          label={text.window}
          keyName="W"
          isPressed={tool.value === "window"}
          onPress={() => {
            tool.value = "window";
          }}
        />
        <Button
          icon="invert"
          label={text.invert}
          keyName="I"
          isPressed={grayWindow.value.isInverted}
          onPress={invert}
        />
      </div>
      <div class="tool-group">
        <Button icon="zoomOut" label={text.zoomOut} keyName="-" onPress={zoomOut} />
        <Button icon="zoomIn" label={text.zoomIn} keyName="+" onPress={zoomIn} />
        <Button icon="fit" label={text.fit} keyName="F" onPress={fitWhole} />
        <button
          type="button"
          class="button button-icon"
          aria-label={text.actual}
          title={`${text.actual} (1)`}
          aria-keyshortcuts="1"
          onClick={actualPixels}
        >
          1:1
        </button>
        <Button icon="reset" label={text.reset} keyName="R" onPress={resetView} />
      </div>
      <div class="tool-group">
        <Button
          icon="regions"
          label={text.regions}
          keyName="B"
          isPressed={areRegionsOn.value}
          onPress={() => {
            areRegionsOn.value = !areRegionsOn.value;
          }}
        >
          {text.regions}
        </Button>
        <Button
          icon="overlay"
          label={text.overlay}
          keyName="O"
          isPressed={isOverlayOn.value}
          onPress={() => {
            isOverlayOn.value = !isOverlayOn.value;
          }}
        >
          {text.overlayShort}
        </Button>
        <label class="opacity">
          <span class="unseen">{text.opacity}</span>
          <input
            type="range"
            min="0"
            max="100"
            step="5"
            title={`${text.opacity} ([ ])`}
            value={Math.round(100 * opacity.value)}
            aria-valuetext={`${Math.round(100 * opacity.value)} %`}
            onInput={(event) => setOpacity(event.currentTarget.valueAsNumber / 100)}
          />
        </label>
      </div>
    </fieldset>
  );
}
