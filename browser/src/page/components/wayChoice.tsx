/** Choose where radiographs are answered, and see whether they leave this machine. */

import { useState } from "preact/hooks";
import { isKept } from "../state/offline";
import {
  choose,
  dropOwnBundle,
  ownBundle,
  stateOf,
  unlock,
  WAYS,
  type Way,
  type WayState,
  way,
} from "../state/ways";
import { words } from "../words";
import { Icon } from "./icon";

export function WayChoice() {
  const chosen = way.value;
  const state = stateOf(chosen);
  return (
    <section class="ways" aria-label={words.ways.legend}>
      <fieldset class="segments">
        <legend class="unseen">{words.ways.legend}</legend>
        {WAYS.map((each) => (
          <WayOption key={each} way={each} state={stateOf(each)} isChosen={each === chosen} />
        ))}
      </fieldset>
      <div class="way-status">
        <Status way={chosen} state={state} />
        {chosen === "device" && ownBundle.value && (
          <p>
            {words.ownBundle.inUse(ownBundle.value.name)}{" "}
            <button type="button" class="link" onClick={() => void dropOwnBundle()}>
              {words.ownBundle.drop}
            </button>
          </p>
        )}
      </div>
      {chosen === "server" && state.status === "locked" && <TokenForm />}
    </section>
  );
}

function WayOption(props: { way: Way; state: WayState; isChosen: boolean }) {
  const { way: each, state, isChosen } = props;
  const isAbsent = state.status === "absent";
  return (
    <label class="segment" title={isAbsent ? words.ways.absent[each] : undefined}>
      <input
        type="radio"
        name="way"
        value={each}
        checked={isChosen}
        disabled={isAbsent}
        onChange={() => void choose(each)}
      />
      <span>
        <Icon name={each} />
        <span class="unseen">{words.ways.run[each]}</span>
        <span aria-hidden="true">{words.ways[each]}</span>
      </span>
    </label>
  );
}

function Status({ way: each, state }: { way: Way; state: WayState }) {
  if (state.status === "absent") {
    const isOther = WAYS.some((other) => !["absent", "checking"].includes(stateOf(other).status));
    return <p class="problem">{isOther ? words.ways.absent[each] : words.ways.none}</p>;
  }
  if (state.status === "failed") {
    return (
      <p class="problem">
        {state.message}{" "}
        <button type="button" class="link" onClick={() => void choose(each)}>
          {words.ways.retry}
        </button>
      </p>
    );
  }
  if (state.status === "locked") return <p>{words.ways.locked}</p>;
  if (state.status === "starting") {
    const { progress } = state;
    return (
      <p>
        {words.ways.progress(progress)}
        <progress
          aria-label={words.ways.progress(null)}
          {...(progress?.total ? { max: progress.total, value: progress.loaded ?? 0 } : {})}
        />
      </p>
    );
  }
  if (state.status === "ready") {
    const { privacy } = words.ways;
    if (each === "server") return <p>{privacy.server(location.host)}</p>;
    return (
      <p>
        {privacy.device} {isKept.value && words.offline.ready}
      </p>
    );
  }
  return <p>{words.ways.checking}</p>;
}

function TokenForm() {
  const [token, setToken] = useState("");
  return (
    <form
      class="token"
      onSubmit={(event) => {
        event.preventDefault();
        void unlock(token);
      }}
    >
      <label>
        {words.server.tokenLabel}
        <input
          type="password"
          autocomplete="off"
          required
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="button">
        {words.server.tokenSend}
      </button>
      <p>{words.server.tokenHint}</p>
    </form>
  );
}
