/** A modal panel. The browser's own dialog keeps the focus inside and gives it back. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { words } from "../words";
import { Button } from "./button";

export type DialogName = "about" | "keys";

const open = signal<DialogName | null>(null);

export function openDialog(name: DialogName): void {
  open.value = name;
}

export function isDialogOpen(): boolean {
  return open.value !== null;
}

interface DialogProps {
  name: DialogName;
  heading: string;
  children: ComponentChildren;
}

export function Dialog({ name, heading, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const isOpen = open.value === name;
  useEffect(() => {
    if (isOpen) element.current?.showModal();
    else element.current?.close();
  }, [isOpen]);
  const close = () => {
    open.value = null;
  };
  return (
    <dialog
      ref={element}
      class="dialog"
      aria-labelledby={`${name}-heading`}
      onClose={close}
      closedby="any"
    >
      {isOpen && (
        <div class="dialog-body">
          <div class="dialog-head">
            <h2 id={`${name}-heading`}>{heading}</h2>
            <Button icon="close" label={words.close} onPress={close} />
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}
