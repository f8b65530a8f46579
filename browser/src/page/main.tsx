/** Start the page. */

import "./styles/index.css";
import { render } from "preact";
import { App } from "./app";
import { listenToKeys } from "./components/keyCommands";
import { listenToPrinting } from "./components/print";
import { keepOffline } from "./state/offline";
import { runQueue } from "./state/queue";
import { followSelection } from "./state/radiographs";
import { followPicture } from "./state/viewer";
import { start } from "./state/ways";

const [app, paper] = ["app", "paper"].map((id) => document.getElementById(id));
if (app && paper) {
  void start(); // first: the bundle comes while the page is drawn
  render(<App />, app);
  listenToPrinting(paper);
  listenToKeys();
  followSelection();
  followPicture();
  runQueue();
  void keepOffline();
}
