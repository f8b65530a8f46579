/** Answers by the server that the page came from, over its HTTP interface. */

import { parseCard } from "../bundle/card";
import { readRadiograph } from "../device/readRadiograph";
import { ReadError, ServerError, UsageError } from "../errors";
import { findOperatingPoint } from "../prediction";
import { isDicom } from "../read/format";
import type { Answer, BundleCard, BundleIdentity, Detector, Radiograph } from "../types";
import { readAnswer, readRefusal, type ServerAnswer } from "./reply";

type Bytes = Uint8Array<ArrayBuffer>;

/** A bundle that a server runs. Each file is uploaded to it. */
export class ServerDetector implements Detector {
  readonly where = "server";

  private constructor(
    private readonly base: URL,
    private readonly token: string | null,
    readonly card: BundleCard,
    readonly identity: BundleIdentity,
  ) {}

  /**
   * Ask the server for its bundle's card.
   *
   * @param base Where the page lies: `api/v1/bundle` is sought below it.
   * @param options.token The bearer token, where the server wants one. It is kept in memory only.
   * @throws ServerError there is no such server, or it refused.
   * @throws UsageError the token cannot be sent.
   */
  static async open(
    base: URL,
    { token = null }: { token?: string | null } = {},
  ): Promise<ServerDetector> {
    const response = await request(new URL("api/v1/bundle", base), token);
    const body: unknown = await response.json().catch(() => null);
    try {
      const card = parseCard(body);
      const { sha256 } = body as { sha256?: unknown };
      if (typeof sha256 !== "string") throw new TypeError("sha256: is missing");
      const { name, version } = card;
      return new ServerDetector(base, token, card, { name, version, sha256 });
    } catch (error) {
      throw new ServerError(
        `The server's bundle is none that this page knows (${(error as Error).message}). ` +
          "Reload the page; the server may have been upgraded.",
      );
    }
  }

  async predict(bytes: Bytes, name: string, operatingPointName?: string): Promise<Answer> {
    const { name: point } = findOperatingPoint(this.card, operatingPointName);
    // The page draws the picture itself wherever it can: that spares the server and the network.
    // What only the server can read comes back as a picture.
    const local = readRadiograph(bytes, name).catch((error: unknown) => {
      if (error instanceof ReadError) return null;
      throw error;
    });
    if (isDicom(bytes)) {
      const radiograph = await local;
      const answer = await this.ask(bytes, name, point, { withPicture: radiograph === null });
      return { ...answer, radiograph: radiograph ?? (await readPicture(answer, name)) };
    }
    const [answer, radiograph] = await Promise.all([
      this.ask(bytes, name, point, { withPicture: false }),
      local,
    ]);
    if (radiograph) return { prediction: answer.prediction, radiograph };
    const again = await this.ask(bytes, name, point, { withPicture: true });
    return { prediction: again.prediction, radiograph: await readPicture(again, name) };
  }

  close(): void {
    // Nothing is held open between requests.
  }

  private async ask(
    bytes: Bytes,
    name: string,
    point: string,
    { withPicture }: { withPicture: boolean },
  ): Promise<ServerAnswer> {
    const url = new URL("api/v1/predictions", this.base);
    url.searchParams.set("operating_point", point);
    url.searchParams.set("include", withPicture ? "map,picture" : "map");
    const form = new FormData();
    form.append("files", new Blob([bytes]), name);
    const response = await request(url, this.token, { method: "POST", body: form });
    const answer = readAnswer(await response.json().catch(() => null), this.card);
    // Its operating points are another bundle's: this card's thresholds would be wrong for it.
    if (answer.prediction.bundle.sha256 !== this.identity.sha256) {
      throw new ServerError(
        "The server now has another bundle than when this page was opened. Reload the page.",
      );
    }
    // The server calls the file as the upload did, where some characters can't stand.
    return { ...answer, prediction: { ...answer.prediction, path: name } };
  }
}

async function readPicture(answer: ServerAnswer, name: string): Promise<Radiograph> {
  if (answer.picture === null) throw new ServerError(`${name}: the server sent no picture of it.`);
  return readRadiograph(answer.picture, name);
}

async function request(url: URL, token: string | null, init?: RequestInit): Promise<Response> {
  const headers = makeHeaders(token);
  let response: Response;
  try {
    response = await fetch(url, {
      ...init,
      headers,
      cache: "no-store",
      credentials: "same-origin",
    });
  } catch {
    throw new ServerError("The server cannot be reached. Start it, or run on this device instead.");
  }
  if (!response.ok) throw await readRefusal(response);
  return response;
}

function makeHeaders(token: string | null): HeadersInit {
  if (token === null) return {};
  try {
    return new Headers({ Authorization: `Bearer ${token}` });
  } catch {
    // Otherwise fetch would fail just as it does where there is no server.
    throw new UsageError(
      "This token has characters that cannot be sent, such as a typographic dash. " +
        "Check it and try again.",
    );
  }
}
