/** Where refused events go, so that a refusal loses nothing: resolved means durable. */
export interface DeadLetterSink {
  record(entries: readonly DeadLetterEntry[]): Promise<void>;
}

export interface DeadLetterEntry {
  readonly stream: string;
  readonly stage: "door";
  /** Code of the registry in `errors.ts`. */
  readonly code: string;
  readonly message: string;
  /** The event as received, byte for byte; of an event that is too large, as much as an event may have. */
  readonly payload: Uint8Array;
  readonly source: string;
}
