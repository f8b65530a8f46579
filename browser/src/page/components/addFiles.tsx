/** Choose files; and take whatever is dropped on the page or pasted into it. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { takeDrop, takeFiles, takePaste } from "../state/arrive";
import { words } from "../words";
import { Icon } from "./icon";

const isDragged = signal(false);

/** A button that opens the browser's own choice of files. */
export function ChooseFiles({ label, isMain }: { label: string; isMain: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class={isMain ? "button button-main" : "button"}
        onClick={() => input.current?.click()}
      >
        <Icon name="add" />
        <span>{label}</span>
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label={label}
        onChange={(event) => {
          takeFiles([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = ""; // so that the same file can be chosen again
        }}
      />
    </>
  );
}

/** The whole page is where files can be dropped. */
export function DropAnywhere() {
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      isDragged.value = true;
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) isDragged.value = false;
    };
    const drop = (event: DragEvent) => {
      isDragged.value = false;
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      void takeDrop(event.dataTransfer);
    };
    const paste = (event: ClipboardEvent) => {
      if (event.target instanceof HTMLInputElement || !event.clipboardData) return;
      takePaste(event.clipboardData);
    };
    const ears = new AbortController();
    const { signal } = ears;
    window.addEventListener("dragover", over, { signal });
    window.addEventListener("dragleave", leave, { signal });
    window.addEventListener("drop", drop, { signal });
    window.addEventListener("paste", paste, { signal });
    return () => ears.abort();
  }, []);
  return isDragged.value ? (
    <div class="drop-veil">
      <p>{words.add.dropHere}</p>
    </div>
  ) : null;
}
