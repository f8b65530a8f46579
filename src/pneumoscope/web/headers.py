"""The headers that every reply has."""

from typing import Final

# 'wasm-unsafe-eval' lets a page compile WebAssembly and nothing else: no eval, no inline script.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
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
    )
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Together these make the page cross-origin isolated, which WASM threads need.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
REQUEST_ID: Final = b"x-request-id"
BUNDLE_HASH: Final = b"x-bundle-sha256"
CACHE_CONTROL: Final = b"cache-control"
CLOSE: Final = (b"connection", b"close")

RawHeaders = list[tuple[bytes, bytes]]


def standing_headers(bundle_sha256: str) -> RawHeaders:
    """Return the headers that are the same for every reply, as ASGI wants them."""
    pairs = [*SECURITY_HEADERS.items(), (BUNDLE_HASH.decode(), bundle_sha256)]
    return [(name.lower().encode(), value.encode()) for name, value in pairs]
