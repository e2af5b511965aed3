/** One step of the schema of the platform's records. Steps are never changed once released; a correction is a new step. */
export interface Migration {
  /** 1, 2, 3… without gaps. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}
