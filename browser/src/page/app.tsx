/** The page as a whole. */

import { About } from "./components/about";
import { DropAnywhere } from "./components/addFiles";
import { Answer } from "./components/answer";
import { Header } from "./components/header";
import { Keys } from "./components/keys";
import { List } from "./components/list";
import { Notices } from "./components/notices";
import { Viewer } from "./components/viewer";
import { Welcome } from "./components/welcome";
import { items } from "./state/items";
import { words } from "./words";

export function App() {
  const isEmpty = items.value.length === 0;
  return (
    <>
      {!isEmpty && (
        <a class="skip" href="#viewer">
          {words.skip}
        </a>
      )}
      <Header />
      <Notices />
      <main class={isEmpty ? "main-empty" : "main"}>
        {isEmpty ? (
          <Welcome />
        ) : (
          <>
            <List />
            <Viewer />
            <Answer />
          </>
        )}
      </main>
      <About />
      <Keys />
      <DropAnywhere />
    </>
  );
}
