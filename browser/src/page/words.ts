/** Every word that the page says, in one place. Sentences about input come from the core. */

import type { BundleIdentity, Failure, OperatingPoint, Prediction, Progress } from "../core";
import { dialogWords } from "./dialogWords";
import { megabytes, percent, plural, three } from "./format";
import type { Way } from "./state/ways";

export const words = {
  name: "Pneumoscope",
  tagline: "Pneumonia in children’s chest radiographs",
  skip: "Skip to the radiograph",
  close: "Close",
  dismiss: "Dismiss this notice",
  unexpected: (reason: string) => `Something unexpected went wrong: ${reason}. Reload the page.`,

  research: {
    short: "Research use only. Not a medical device.",
    population: (population: string) => `Trained on ${population}.`,
    usual: "Trained on children of one to five years.",
  },

  theme: { toLight: "Use the light theme", toDark: "Use the dark theme" },

  ways: {
    legend: "Where radiographs are answered",
    device: "On this device",
    server: "On the server",
    run: { device: "Run on this device", server: "Run on the server" },
    privacy: {
      device: "Pictures stay on this machine. Nothing is uploaded.",
      server: (host: string) => `Pictures are sent to ${host}, which answers and keeps none.`,
    },
    absent: {
      device: "Not offered here: this page came without the files that it needs (make web).",
      server: "No server answers here.",
    },
    none: "Neither way is to be had here: no server answers, and the page came without the files to run on this device. Start one with: pneumoscope serve",
    checking: "Looking for it…",
    locked: "Wants a token.",
    retry: "Try again",
    ready: (way: Way) =>
      way === "device" ? "Ready to run on this device." : "Ready to run on the server.",
    progress: (progress: Progress | null) => {
      if (progress === null) return "Starting…";
      if (progress.stage === "starting") return "Starting the bundle…";
      const what = progress.stage === "runtime" ? "runtime" : "bundle";
      if (progress.loaded === null) return `Loading the ${what}…`;
      const total = progress.total === null ? "" : ` of ${megabytes(progress.total)}`;
      return `Loading the ${what}: ${megabytes(progress.loaded)}${total}`;
    },
  },

  server: {
    tokenLabel: "Access token",
    tokenHint: "This server answers only with a token. It is kept until the page is closed.",
    tokenSend: "Unlock",
    tokenRefused: "The server refused this token. Check it and try again.",
    busy: (seconds: number) =>
      `The server is busy. Trying again in ${plural(Math.ceil(seconds), "second")}.`,
  },

  ownBundle: {
    taken: (file: string, { name, version }: BundleIdentity) =>
      `${file} answers from now on: ${name} ${version}. It stays on this machine.`,
    refused: (file: string, reason: string) => `${file} was not taken: ${reason}`,
    needsDevice:
      "A bundle of one’s own runs on this device only, and this page came without the files for that (make web).",
    inUse: (file: string) => `Your bundle: ${file}`,
    drop: "Back to the page’s bundle",
  },

  add: {
    heading: "Bring a radiograph",
    lead: "Drop JPEG, PNG or DICOM files anywhere on the page, paste a picture, or choose files.",
    choose: "Choose files",
    more: "Add files",
    dropHere: "Drop radiographs, or a bundle (.onnx)",
    bundleHint: "A bundle of your own (.onnx) can be dropped, too.",
    pasted: (n: number) => `pasted-${n}`,
    nothing: "There was no picture in what was pasted.",
    unread: (n: number) =>
      n === 1
        ? "One file or folder could not be read."
        : `${n} files or folders could not be read.`,
    noneInside: "The folder has no JPEG, PNG, BMP, WebP or DICOM file.",
    oneBundle: (name: string) => `Several bundles came at once; ${name} is opened.`,
    examples: "Or try an example",
    exampleCredit: "Kermany, Zhang, Goldbaum (2018), Mendeley Data V2, CC BY 4.0",
    example: (n: number) => `Example ${n}`,
    exampleLabel: (label: string) => `dataset’s label: ${label}`,
    exampleMissing: (name: string) => `${name} could not be fetched. Check the connection.`,
  },

  promise: [
    "An answer says how much a radiograph resembles those of children with pneumonia in one dataset.",
    "An answer cannot say that a child is ill or well, which germ it is, or whether something else is seen.",
    "The colours show where the evidence was found, not where a disease ends.",
  ],

  list: {
    heading: "Radiographs",
    count: (n: number) => plural(n, "radiograph"),
    progress: (done: number, all: number) => `${done} of ${all} done`,
    failed: (n: number) => `${n} failed`,
    name: "Name",
    probability: "P",
    probabilityLong: "Probability of pneumonia",
    label: "Label",
    warnings: "Warnings",
    nWarnings: (n: number) => plural(n, "warning"),
    sortBy: (column: string) => `Sort by ${column}`,
    remove: (name: string) => `Remove ${name}`,
    clear: "Clear the list",
    again: "Answer all again",
    retry: "Try failed ones again",
    csv: "CSV",
    csvLong: "Save the answers as CSV",
    json: "JSON",
    jsonLong: "Save the answers as JSON",
    print: "Print",
    printLong: "Print one card a radiograph",
    state: { waiting: "waits", running: "runs", failed: "failed" },
    hint: "Arrow keys move through the list; Delete removes.",
  },

  labels: { pneumonia: "Pneumonia", normal: "Normal" },

  answer: {
    heading: "Answer",
    none: "No radiograph is chosen.",
    waiting: "Waits for its turn.",
    running: "Is being answered…",
    failed: "This file could not be answered",
    probability: "Probability",
    rule: ({ name, threshold }: { name: string; threshold: number }) =>
      `Pneumonia at ${three(threshold)} or above (${name})`,
    scale: ({ probability, operatingPoint }: Prediction) =>
      `Probability ${three(probability)} on a scale from 0 to 1; the operating point ${operatingPoint.name} lies at ${three(operatingPoint.threshold)}`,
    point: "Operating point",
    pointFigures: ({ sensitivity, specificity }: OperatingPoint) =>
      `Sensitivity ${percent(sensitivity)}, specificity ${percent(specificity)}`,
    pointAbove:
      "“Sensitive” promises a sensitivity of 95 %, not the most: here its threshold lies above the balanced one, and fewer are called pneumonia.",
    pointMeasured: (where: string) => `measured on the ${where} split`,
    pointElsewhere: (where: string) => `measured on ${where}`,
    warnings: "Warnings",
    noWarnings: "None: nothing known about this file speaks against the answer.",
    regions: "Regions",
    noRegions: "None: regions are drawn only where the label is pneumonia.",
    region: (n: number) => `Region ${n}`,
    regionPlace: (box: { x: number; y: number; width: number; height: number }) =>
      `${box.width} × ${box.height} px at ${box.x}, ${box.y}`,
    regionZoom: "Zoom to this region",
    facts: "Facts",
    time: "Time",
    where: { device: "on this device", server: "on the server" },
    milliseconds: (value: number) => `${Math.round(value).toLocaleString("en")} ms`,
    bundle: "Bundle",
    file: "File",
    pixels: ({ width, height }: { width: number; height: number }) => `${width} × ${height} px`,
    atypicality: "Atypicality",
    atypicalityValue: (value: number, threshold: number) =>
      `${value.toFixed(2)} (warned of above ${threshold.toFixed(2)})`,
    age: "Age",
    years: (value: number) => plural(Number(value.toPrecision(3)), "year"),
    sex: "Sex",
    view: "View",
    modality: "Modality",
    otherBundle: "This answer is from another bundle than the one in use.",
    meaning: "What this answer means",
  },

  answered: ({ path, label, probability, warnings }: Prediction) =>
    `${path}: ${label}, probability ${three(probability)}, ${plural(warnings.length, "warning")}.`,
  failed: ({ path, error }: Failure) => `${path} failed: ${error.message}`,

  viewer: {
    region: "Radiograph",
    tools: "Tools for the radiograph",
    description: (prediction: Prediction) =>
      `Radiograph ${prediction.path}, ${prediction.image.width} by ${prediction.image.height} pixels, ${prediction.label}, ${plural(prediction.regions.length, "region")}. ` +
      "Arrow keys pan, or change the window where that tool is chosen; plus and minus zoom.",
    empty: "No picture to show",
    pan: "Pan",
    window: "Window and level",
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    fit: "Fit the whole picture",
    actual: "1:1, one pixel of the file as one of the screen",
    invert: "Invert",
    reset: "Reset the view",
    overlay: "Evidence overlay",
    overlayShort: "Evidence",
    regions: "Regions",
    opacity: "Opacity of the overlay",
    legend: "Evidence above the operating point, in logits",
    legendSpan: (low: number, high: number) =>
      `Colours from ${low.toFixed(1)} logits, the operating point, to ${high.toFixed(1)}, the strongest evidence on the scale`,
    zoomStatus: (scale: number) => `${Math.round(100 * scale)} %`,
    windowStatus: (width: number, centre: number) =>
      `W ${Math.round(width)}  L ${Math.round(centre)}`,
    windowTitle: "Width and level of the window, in display values",
  },

  ...dialogWords,

  print: {
    heading: "Pneumoscope: answers for radiographs",
    span: (low: number, high: number) => `${low.toFixed(1)} to ${high.toFixed(1)}`,
    written: (time: string) => `Printed ${time}`,
  },

  offline: {
    ready: "Works without a network.",
    updated: "A newer version of this page is ready.",
    reload: "Reload",
  },
};
