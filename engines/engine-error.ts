/** An engine could not be had: what failed, where its log is, and what to do next. */
export class EngineError extends Error {
  constructor(what: string, { log, next, cause }: { log?: string; next: string; cause?: unknown }) {
    const lines = [what, ...(log === undefined ? [] : [`its log: ${log}`]), `next: ${next}`];
    super(lines.join("\n  "), { cause });
    this.name = "EngineError";
  }
}

/** A registry did not give what an engine is made of: what failed is the machine's way to it, not the engine. */
export class FetchError extends Error {
  constructor(failure: EngineError) {
    super(failure.message, { cause: failure });
    this.name = "FetchError";
  }
}

/** With it `up` ends when something could not be fetched, so that who started it can tell that from a server that does not come up. */
export const NOT_FETCHED = 3;
