/** Line icons, 24 x 24, drawn for this page. They never speak: the button beside them does. */

const PATHS = {
  add: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  clear: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 11v5M13.5 11v5",
  again: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4.5h-4.5",
  print:
    "M7 9V4h10v5M7 17H5a1 1 0 0 1-1-1v-6a1 1 0 0 1 1-1h14a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-2M7 14h10v6H7z",
  save: "M12 4v11M7.5 11L12 15.5 16.5 11M5 19.5h14",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M18.4 5.6L17 7M7 17l-1.4 1.4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
  keys: "M3.5 7h17v10h-17zM7 10.5h.01M10.3 10.5h.01M13.7 10.5h.01M17 10.5h.01M8 13.8h8",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 11v5.5M12 7.6h.01",
  pan: "M12 3.5v17M3.5 12h17M9.5 6L12 3.5 14.5 6M9.5 18l2.5 2.5 2.5-2.5M6 9.5L3.5 12 6 14.5M18 9.5l2.5 2.5-2.5 2.5",
  window: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M12 8h6.9M12 12h8M12 16h6.9",
  zoomIn: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l5 5M10.5 8v5M8 10.5h5",
  zoomOut: "M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15 15l5 5M8 10.5h5",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  invert: "M4.5 4.5h15v15h-15zM4.5 19.5l15-15M15 12.5v5M12.5 15h5M7 8.5h4",
  reset: "M5 12a7 7 0 1 0 2.2-5.1M5 4v4.5h4.5",
  overlay:
    "M12 4.5c-4.5 0-7.5 4-8.5 7.5 1 3.5 4 7.5 8.5 7.500s7.5-4 8.5-7.500c-1-3.5-4-7.5-8.5-7.500zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  regions: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M9 9h6v6H9z",
  device: "M4.5 5h15v10.500h-15zM2.5 19h19M10 19v-3.500M14 19v-3.5",
  server:
    "M4.5 4.500h15v6h-15zM4.5 13.500h15v6h-15zM8 7.500h.01M8 16.500h.01M11.5 7.500h5M11.5 16.500h5",
  warning: "M12 4L2.8 19.500h18.400zM12 10v4.500M12 17h.01",
  failed: "M12 3.500a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM9 9l6 6M15 9l-6 6",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark of Pneumoscope: two lungs, one with evidence in it. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path class="mark-airway" d="M16 4v9M16 13l-3.5 3M16 13l3.5 3" />
      <path
        class="mark-lung"
        d="M13 9.500c-4.5 1-8 7.5-8 14.5 0 3 2 4 4.5 3.2 2-.7 3.5-1.7 3.5-4.200z"
      />
      <path
        class="mark-lung"
        d="M19 9.500c4.5 1 8 7.5 8 14.5 0 3-2 4-4.5 3.2-2-.7-3.5-1.7-3.5-4.200z"
      />
      <circle class="mark-evidence" cx="22.8" cy="21" r="2.6" />
    </svg>
  );
}
