/** Hands the core to tests/browser/*.py, which drive it in a real browser. */

import * as core from "../../src/core";

declare global {
  interface Window {
    core: typeof core;
  }
}

window.core = core;
