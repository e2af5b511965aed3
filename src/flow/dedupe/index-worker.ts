/**
 * What runs on the thread of the indexes: takes requests and answers each once. Requests to one index start in the order
 * in which they were sent.
 */
import { parentPort } from "node:worker_threads";
import { MillraceError } from "../../errors.ts";
import type { IdIndexOptions } from "./id-index.ts";
import type { IndexFiles } from "./index-files.ts";
import { LocalIndex } from "./local-index.ts";

export type IndexRequest =
  | { readonly op: "open"; readonly dir: string; readonly options: IdIndexOptions }
  | { readonly op: "lookup"; readonly records: Uint32Array<ArrayBuffer> }
  | { readonly op: "stage"; readonly records: Uint32Array<ArrayBuffer> }
  | { readonly op: "commit"; readonly toOffset: number; readonly rebuilding: boolean }
  | { readonly op: "stats" }
  | { readonly op: "close" };

export interface IndexMessage {
  readonly id: number;
  /** The answer to `open`; 0 with `open` itself. */
  readonly handle: number;
  readonly request: IndexRequest;
}

export interface IndexReply {
  readonly id: number;
  readonly coveredTo: number;
  readonly value?: unknown;
  readonly error?: CarriedError;
}

/** An error on its way between threads: classes do not survive the journey. */
export interface CarriedError {
  readonly code: string | undefined;
  readonly details: unknown;
  readonly message: string;
  readonly stack: string | undefined;
}

const indexes = new Map<number, LocalIndex>();
let lastHandle = 0;

parentPort?.on("message", async ({ id, handle, request }: IndexMessage) => {
  try {
    const { value, transfer } = await answer(handle, request);
    const of = request.op === "open" ? (value as number) : handle;
    reply({ id, coveredTo: indexes.get(of)?.coveredTo ?? -1, value }, transfer);
  } catch (error) {
    reply({ id, coveredTo: indexes.get(handle)?.coveredTo ?? -1, error: carried(error) });
  }
});

function reply(message: IndexReply, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

async function answer(handle: number, request: IndexRequest): Promise<{ value?: unknown; transfer?: ArrayBuffer[] }> {
  if (request.op === "open") {
    const { dir, options } = request;
    const files = options.filesModule === undefined ? undefined : await filesOf(options.filesModule);
    const opened = ++lastHandle;
    indexes.set(opened, LocalIndex.open(dir, options, files));
    return { value: opened };
  }
  const index = indexes.get(handle);
  if (!index) throw new Error("the duplicate index is closed");
  switch (request.op) {
    case "lookup": {
      const duplicateOf = index.lookup(request.records);
      return { value: duplicateOf, transfer: [duplicateOf.buffer] };
    }
    case "stage":
      index.stage(request.records);
      return {};
    case "commit":
      await index.commit(request.toOffset, request.rebuilding);
      return {};
    case "stats":
      return { value: index.stats() };
    case "close":
      indexes.delete(handle);
      await index.close();
      return {};
  }
}

async function filesOf(module: string): Promise<IndexFiles> {
  return ((await import(module)) as { readonly indexFiles: IndexFiles }).indexFiles;
}

function carried(error: unknown): CarriedError {
  if (!(error instanceof Error))
    return { code: undefined, details: undefined, message: String(error), stack: undefined };
  const known = error instanceof MillraceError ? error : undefined;
  return { code: known?.code, details: known?.details, message: error.message, stack: error.stack };
}
