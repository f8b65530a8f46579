/** One radiograph of the list. */

import { useLayoutEffect, useRef } from "preact/hooks";
import {
  type GrayPicture,
  levelsOf,
  paintGray,
  reducePicture,
  WHOLE_WINDOW,
} from "../drawing/gray";
import { three } from "../format";
import { selectedId } from "../state/items";
import type { ShownItem } from "../state/point";
import { words } from "../words";
import { Icon } from "./icon";
import { removeRow } from "./removal";

const text = words.list;
/** A few times what is seen, for fine screens. */
const THUMBNAIL_PX = 96;

export function ListRow({ shown, isChosen }: { shown: ShownItem; isChosen: boolean }) {
  const { item, prediction } = shown;
  const nWarnings = prediction?.warnings.length ?? 0;
  return (
    <tr class="row" data-state={item.state} data-chosen={isChosen}>
      <td class="column-name">
        <button
          type="button"
          class="row-name"
          data-id={item.id}
          // Only the chosen row is a stop of the tab key; arrow keys go on from there.
          tabIndex={isChosen ? 0 : -1}
          aria-current={isChosen ? "true" : undefined}
          title={item.name}
          onClick={() => {
            selectedId.value = item.id;
          }}
        >
          <Thumbnail picture={item.small} />
          <span class="row-file">{breakable(item.name)}</span>
        </button>
      </td>
      <td class="column-probability">{prediction ? three(prediction.probability) : ""}</td>
      <td class="column-label">
        {prediction ? (
          <span class="label" data-label={prediction.label}>
            {words.labels[prediction.label]}
          </span>
        ) : (
          item.state !== "answered" && (
            <span class="row-state" title={item.failure?.error.message}>
              {text.state[item.state]}
            </span>
          )
        )}
      </td>
      <td class="column-warnings">
        {nWarnings > 0 && (
          <span title={prediction?.warnings.join("\n")}>
            <span aria-hidden="true">{nWarnings}</span>
            <span class="unseen">{text.nWarnings(nWarnings)}</span>
          </span>
        )}
      </td>
      <td class="column-remove">
        <button
          type="button"
          class="button button-icon button-bare"
          data-id={item.id}
          aria-label={text.remove(item.name)}
          title={text.remove(item.name)}
          tabIndex={isChosen ? 0 : -1}
          onClick={() => removeRow(item.id, "remove")}
        >
          <Icon name="close" />
        </button>
      </td>
    </tr>
  );
}

/** Let a long name break where its parts end. */
function breakable(name: string) {
  return name.split(/(?<=[_.-])/).flatMap((part) => [part, <wbr key={part} />]);
}

function Thumbnail({ picture }: { picture: GrayPicture | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context || !picture) return;
    const { pixels, width, height } = reducePicture(picture, THUMBNAIL_PX);
    context.canvas.width = width;
    context.canvas.height = height;
    context.putImageData(
      new ImageData(paintGray(pixels, levelsOf(WHOLE_WINDOW)), width, height),
      0,
      0,
    );
  }, [picture]);
  return (
    <span class="thumbnail" aria-hidden="true">
      <canvas ref={canvas} width={1} height={1} />
    </span>
  );
}
