/** An engine could not be had: what failed, where its log is, and what to do next. */
export class EngineError extends Error {
  constructor(what: string, { log, next, cause }: { log?: string; next: string; cause?: unknown }) {
    const lines = [what, ...(log === undefined ? [] : [`its log: ${log}`]), `next: ${next}`];
    super(lines.join("\n  "), { cause });
    this.name = "EngineError";
  }
}
