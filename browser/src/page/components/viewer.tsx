/** The radiograph: a canvas that pans, zooms and changes its window. */

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { paintEvidence, paintPicture, rememberingLast } from "../drawing/layers";
import { drawScene } from "../drawing/scene";
import { shownSelected } from "../state/point";
import { inView } from "../state/radiographs";
import {
  areRegionsOn,
  grayWindow,
  isFitted,
  isOverlayOn,
  opacity,
  placeNow,
  pointedRegion,
  tool,
  viewerSize,
} from "../state/viewer";
import { words } from "../words";
import { handleViewerKey } from "./keyCommands";
import { Legend } from "./legend";
import { listenToPointer } from "./pointer";
import { Toolbar } from "./toolbar";

/** The picture in view with its answer; null while either is missing. */
function inSight() {
  const picture = inView.value;
  const shown = shownSelected.value;
  if (!picture || !shown?.prediction || shown.item.id !== picture.id) return null;
  return { radiograph: picture.radiograph, prediction: shown.prediction };
}

export function Viewer() {
  const sight = inSight();
  return (
    <section class="viewer" id="viewer" tabIndex={-1} aria-label={words.viewer.region}>
      <Toolbar isDisabled={sight === null} />
      <Stage />
      {sight && <Legend prediction={sight.prediction} />}
    </section>
  );
}

function Stage() {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const measure = () => {
      viewerSize.value = { width: element.clientWidth, height: element.clientHeight };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    const deafen = listenToPointer(element);
    return () => {
      observer.disconnect();
      deafen();
    };
  }, []);
  const layers = useRef({
    gray: rememberingLast(paintPicture),
    evidence: rememberingLast(paintEvidence),
  });
  const frame = useRef(0);
  useSignalEffect(() => {
    const sight = inSight();
    const element = canvas.current;
    if (!element) return;
    const view = {
      size: viewerSize.value,
      place: placeNow(),
      window: grayWindow.value,
      isOverlayOn: isOverlayOn.value,
      opacity: opacity.value,
      areRegionsOn: areRegionsOn.value,
      pointed: pointedRegion.value,
    };
    // Many changes come between two frames when a person drags.
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => {
      if (sight === null) {
        element.width = 1; // an empty canvas
        delete element.dataset.shows;
        return;
      }
      const { radiograph, prediction } = sight;
      drawScene(element, {
        size: view.size,
        pixelRatio: devicePixelRatio,
        place: view.place,
        picture: radiograph,
        gray: layers.current.gray(radiograph, view.window),
        evidence: view.isOverlayOn ? layers.current.evidence(prediction) : null,
        opacity: view.opacity,
        regions: view.areRegionsOn ? prediction.regions : [],
        pointed: view.pointed,
      });
      element.dataset.shows = prediction.sha256;
    });
  });
  const sight = inSight();
  const label = sight ? words.viewer.description(sight.prediction) : words.viewer.empty;
  return (
    <div
      class="stage"
      role="application"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys pan the radiograph
      tabIndex={0}
      aria-label={label}
      onKeyDown={handleViewerKey}
    >
      <canvas
        ref={canvas}
        class="stage-canvas"
        data-tool={tool.value}
        // A fitted picture lets a finger scroll the page.
        data-fitted={isFitted() && tool.value === "pan"}
      />
      {sight ? <Readout /> : <p class="stage-empty">{words.viewer.empty}</p>}
    </div>
  );
}

function Readout() {
  const { width, centre } = grayWindow.value;
  return (
    <p class="readout">
      <span>{words.viewer.zoomStatus(placeNow().scale * devicePixelRatio)}</span>
      <span title={words.viewer.windowTitle}>{words.viewer.windowStatus(width, centre)}</span>
    </p>
  );
}
