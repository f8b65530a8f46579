/** The words of the two dialogs: keys, and the bundle. Part of `words`. */

import type { Calibration } from "../core";
import { percent, three } from "./format";

export const dialogWords = {
  keys: {
    button: "Keyboard",
    heading: "Keyboard",
    toggle: "Use single keys as commands",
    hint: "Off leaves typing and speech input alone; every command also has a button.",
    rows: [
      ["O", "Overlay on or off"],
      ["[ and ]", "Overlay fainter, stronger"],
      ["B", "Regions on or off"],
      ["P", "Drag and arrow keys pan"],
      ["W", "Drag and arrow keys change window and level"],
      ["Arrow keys", "Pan or window, with the radiograph focused"],
      ["+ and −", "Zoom in, zoom out"],
      ["F", "Fit the whole picture"],
      ["1", "One pixel of the file as one of the screen"],
      ["I", "Invert"],
      ["R", "Reset the view"],
      ["T", "Next operating point"],
      ["J and K", "Next, previous radiograph"],
      ["?", "This list"],
    ],
    mouse:
      "The wheel zooms; two fingers zoom and pan. Shift, or the right button, does what the other tool does.",
  },

  about: {
    button: "About the bundle",
    heading: "About this bundle",
    none: "No bundle is loaded yet.",
    meaning: "What an answer means",
    trained: "Trained on",
    trainedOn: (nTraining: number, nTuning: number, name: string) =>
      `${nTraining.toLocaleString("en")} radiographs of ${name}; tuned on ${nTuning.toLocaleString("en")} others`,
    population: "Population",
    ages: (low: number, high: number) => `ages ${low} to ${high} years`,
    views: (views: string[]) => `views ${views.join(", ")}`,
    recipe: "Recipe",
    hash: "SHA-256",
    calibration: "Calibration",
    calibrated: ({ bias, temperature, fitted_on: on, n }: Calibration) =>
      `probability = sigmoid((logit + ${bias.toPrecision(3)}) / ${temperature.toPrecision(3)}), fitted on ${on}, n = ${n.toLocaleString("en")}`,
    seed: (seed: number) => `seed ${seed}`,
    name: "Name",
    range: (low: number, high: number) => `${three(low)} to ${three(high)}`,
    atypical: (threshold: number, share: number) =>
      `Atypicality says how unlike the training radiographs a picture is. Above ${threshold.toFixed(2)} the page warns; ${percent(share)} of the tuning radiographs lie there. Below it a picture may still be something the bundle can’t judge.`,
    points: "Operating points",
    pointsLead:
      "A probability at or above the threshold is called pneumonia. Another population would give other figures. “Sensitive” is the largest threshold that still finds 95 % on the tuning split: it promises that, not the most, and may lie above “balanced”.",
    threshold: "Threshold",
    sensitivity: "Sensitivity",
    specificity: "Specificity",
    on: "Measured on",
    interval: (low: number, high: number) => `${percent(low)} to ${percent(high)}`,
    resultOf: (dataset: string, split: string, n: number) =>
      `${dataset}, ${split} split, n = ${n.toLocaleString("en")}`,
    figure: "Figure",
    value: "Value",
    ninetyFive: "95 % interval",
    limits: "Limits",
    warnings: "Warnings",
    warningsLead:
      "A warning doesn’t change an answer; it says why the answer may mean nothing. The age is unknown in most picture files, so most answers carry that one.",
    licence: "Licence",
    attribution: "Attribution",
    size: (px: number) => `looks at ${px} × ${px} px`,
  },
};
