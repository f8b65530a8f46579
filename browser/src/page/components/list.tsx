/** The list of radiographs: a table that sorts, and goes by the arrow keys. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { saveCsv, saveJson } from "../state/exports";
import { askAgain, items, nDone, selectedId } from "../state/items";
import { COLUMNS, type Column, order, orderedItems, selectNeighbour, sortBy } from "../state/order";
import { words } from "../words";
import { ChooseFiles } from "./addFiles";
import { Button } from "./button";
import { Icon } from "./icon";
import { ListRow } from "./listRow";
import { printAnswers } from "./print";
import { clearList, focusSoon, removeRow } from "./removal";

const text = words.list;
const HEADINGS: Record<Column, { short: ComponentChildren; long: string }> = {
  name: { short: text.name, long: text.name },
  probability: { short: text.probability, long: text.probabilityLong },
  label: { short: text.label, long: text.label },
  warnings: { short: <Icon name="warning" />, long: text.warnings },
};

export function List() {
  const all = items.value;
  const nFailed = all.filter((item) => item.state === "failed").length;
  const hasAnswers = nDone.value > 0;
  return (
    <section class="list panel" aria-labelledby="list-heading">
      <div class="panel-head">
        <h2 id="list-heading">{text.heading}</h2>
        <p class="count">
          {nDone.value < all.length
            ? text.progress(nDone.value, all.length)
            : text.count(all.length)}
          {nFailed > 0 && <span class="count-failed">{text.failed(nFailed)}</span>}
        </p>
      </div>
      {nDone.value < all.length && (
        <progress
          class="list-progress"
          max={all.length}
          value={nDone.value}
          aria-label={text.progress(nDone.value, all.length)}
        />
      )}
      <div class="list-tools">
        <ChooseFiles label={words.add.more} isMain={false} />
        <span class="spread" />
        <Button icon="save" label={text.csvLong} isDisabled={!hasAnswers} onPress={saveCsv}>
          {text.csv}
        </Button>
        <Button icon="save" label={text.jsonLong} isDisabled={!hasAnswers} onPress={saveJson}>
          {text.json}
        </Button>
        <Button
          icon="print"
          label={text.printLong}
          isDisabled={!hasAnswers}
          onPress={printAnswers}
        />
        {nFailed > 0 && (
          <Button icon="again" label={text.retry} onPress={() => askAgain({ onlyFailed: true })} />
        )}
        <Button icon="clear" label={text.clear} onPress={clearList} />
      </div>
      <Table />
    </section>
  );
}

function Table() {
  const body = useRef<HTMLTableSectionElement>(null);
  const chosen = selectedId.value;
  useEffect(() => {
    body.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  const handleKey = (event: KeyboardEvent) => {
    if (event.key === "Delete") deleteRowOf(event.target);
    else if (event.key === "ArrowDown") goTo(1);
    else if (event.key === "ArrowUp") goTo(-1);
    else return;
    event.preventDefault();
  };
  return (
    <div class="table-scroll">
      <table aria-describedby="list-hint">
        <thead>
          <tr>
            {COLUMNS.map((column) => (
              <Heading key={column} column={column} />
            ))}
            <th>
              <span class="unseen">{text.remove("")}</span>
            </th>
          </tr>
        </thead>
        <tbody ref={body} onKeyDown={handleKey}>
          {orderedItems.value.map((shown) => (
            <ListRow key={shown.item.id} shown={shown} isChosen={shown.item.id === chosen} />
          ))}
        </tbody>
      </table>
      <p id="list-hint" class="unseen">
        {text.hint}
      </p>
    </div>
  );
}

function goTo(step: 1 | -1): void {
  selectNeighbour(step);
  focusSoon(`.column-name [data-id="${selectedId.value}"]`);
}

/** Remove the row that has the focus, which need not be the one in view. */
function deleteRowOf(target: EventTarget | null): void {
  if (!(target instanceof HTMLElement) || target.dataset.id === undefined) return;
  const isName = target.classList.contains("row-name");
  removeRow(Number(target.dataset.id), isName ? "name" : "remove");
}

function Heading({ column }: { column: Column }) {
  const sorted = order.value?.column === column ? order.value : null;
  const direction = sorted?.isDescending ? "descending" : "ascending";
  const { short, long } = HEADINGS[column];
  return (
    <th class={`column-${column}`} aria-sort={sorted ? direction : "none"}>
      <button
        type="button"
        class="sort"
        aria-label={text.sortBy(long)}
        title={text.sortBy(long)}
        onClick={() => sortBy(column)}
      >
        {short}
        <span class="sort-mark" data-direction={sorted ? direction : "none"} aria-hidden="true" />
      </button>
    </th>
  );
}
