/**
 * The headers of the page's own files, whatever the host sends. They are those of the server (see
 * headers.py), so a plain host's page has threads, too, from the second visit on; and a kept page
 * does not stay with the headers of the day when it was kept.
 */

const HEADERS = {
  "Content-Security-Policy": [
    "default-src 'self'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "img-src 'self' blob: data:",
    "style-src 'self'",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  "Cross-Origin-Opener-Policy": "same-origin",
  // On every file: a page that has it starts no worker whose script lacks it.
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Return the same reply with the page's headers; one that is no file is left as it is. */
export function withPageHeaders(reply: Response): Response {
  if (!reply.ok) return reply;
  const headers = new Headers(reply.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = reply;
  return new Response(reply.body, { status, statusText, headers });
}
