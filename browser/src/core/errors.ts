/** Errors for a reason that a person can mend; `type` is the class's name at a shell. */

/** Base of every error that the core throws on purpose. `message` is for people. */
export class PneumoscopeError extends Error {
  /** The name that the shell and the server give to this kind of error. */
  readonly type: string;

  constructor(type: string, message: string) {
    super(message);
    this.type = type;
    this.name = type;
  }
}

/** A file could not be used; others can. */
export class ReadError extends PneumoscopeError {
  constructor(
    type: "UnreadableImageError" | "ImageTooLargeError" | "MemoryError",
    message: string,
  ) {
    super(type, message);
  }
}

/** A bundle is damaged, too new, changed, or not a bundle; or its graph failed. */
export class BundleError extends PneumoscopeError {
  constructor(message: string) {
    super("BundleError", message);
  }
}

/** The caller asked for something that does not exist. */
export class UsageError extends PneumoscopeError {
  constructor(message: string) {
    super("UsageError", message);
  }
}

/** This device cannot run a bundle, or its parts could not be fetched. */
export class DeviceError extends PneumoscopeError {
  constructor(message: string) {
    super("DeviceError", message);
  }
}

/** The server could not be reached, or refused the request. */
export class ServerError extends PneumoscopeError {
  /** The reply's status; null where no reply came. */
  readonly status: number | null;
  /** How long to wait before another try, in seconds; null where the server did not say. */
  readonly retryAfterSeconds: number | null;

  constructor(
    message: string,
    { type = "ServerError", status = null, retryAfterSeconds = null }: ServerErrorFacts = {},
  ) {
    super(type, message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

interface ServerErrorFacts {
  type?: string;
  status?: number | null;
  retryAfterSeconds?: number | null;
}
