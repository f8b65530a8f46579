/** All that the page needs from the core: reading, answering on this device or by the server. */

export { DeviceDetector } from "./device/deviceDetector";
export { readRadiograph } from "./device/readRadiograph";
export * from "./errors";
export { toLogit, toProbability } from "./logitScale";
export { decide, findOperatingPoint, toJson } from "./prediction";
export { isDicom } from "./read/format";
export { enlarge, findRegions, GRID_CELLS, localLogit } from "./regions";
export { ServerDetector } from "./server/serverDetector";
export * from "./types";
export { warnOfInput } from "./warnings";
