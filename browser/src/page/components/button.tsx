/** A button with an icon: its words are its name, seen or not. */

import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "./icon";

interface ButtonProps {
  icon: IconName;
  /** What it does; also its tooltip. */
  label: string;
  onPress: () => void;
  /** A key that does the same, named in the tooltip. */
  keyName?: string;
  /** For a button that stays down; undefined for one that doesn't. */
  isPressed?: boolean;
  isDisabled?: boolean;
  /** Seen beside the icon; must be part of the label, so that speech input finds it. */
  children?: ComponentChildren;
}

export function Button(props: ButtonProps) {
  const { icon, label, onPress, keyName, isPressed, isDisabled, children } = props;
  return (
    <button
      type="button"
      class={children ? "button" : "button button-icon"}
      aria-label={label}
      title={keyName ? `${label} (${keyName})` : label}
      aria-pressed={isPressed}
      aria-keyshortcuts={keyName}
      disabled={isDisabled}
      onClick={onPress}
    >
      <Icon name={icon} />
      {children && <span>{children}</span>}
    </button>
  );
}
