import { AddedFile, type RemovedFile } from "./data-file.ts";
import { decodePath, encodePath } from "./file-path.ts";
import { readPartitionValues } from "./partition-values.ts";

/**
 * The actions of the Delta protocol that make up a table's state, and their JSON: one action per line, each an object whose
 * only key names it.
 *
 *     {"commitInfo":{"timestamp":1767225600000,"operation":"FLUSH",…}}
 *     {"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
 *     {"metaData":{"id":"…","format":{"provider":"parquet","options":{}},"schemaString":"{…}","partitionColumns":[],"configuration":{},"createdTime":1767225600000}}
 *     {"txn":{"appId":"…","version":17,"lastUpdated":1767225600000}}
 *     {"add":{"path":"a%20b.parquet","partitionValues":{},"size":1,"modificationTime":1767225600000,"dataChange":true,"stats":"{…}"}}
 *     {"remove":{"path":"…","deletionTimestamp":1767225600000,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{},"size":1,"stats":"{…}"}}
 *
 * Readers ignore actions and fields they do not know.
 */
export interface Protocol {
  readonly minReaderVersion: number;
  readonly minWriterVersion: number;
  readonly readerFeatures?: readonly string[] | undefined;
  readonly writerFeatures?: readonly string[] | undefined;
}

export interface Metadata {
  readonly id: string;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly format: { readonly provider: string; readonly options: Readonly<Record<string, string>> };
  /** Some writers leave it out until a table has columns. */
  readonly schemaString: string | undefined;
  readonly partitionColumns: readonly string[];
  readonly configuration: Readonly<Record<string, string>>;
  readonly createdTime?: number | undefined;
}

export interface Txn {
  readonly appId: string;
  readonly version: number;
  readonly lastUpdated: number | undefined;
}

/** The actions of one commit, or of one checkpoint file. */
export interface Actions {
  protocol?: Protocol;
  metadata?: Metadata;
  readonly txns: Txn[];
  readonly adds: AddedFile[];
  readonly removes: RemovedFile[];
  /** Files of a V2 checkpoint that hold the rest of it, by name. */
  readonly sidecars: string[];
  commitInfo?: Readonly<Record<string, unknown>>;
}

/** Says what is wrong with an action; whoever read the file adds which one it was. */
export class MalformedAction extends Error {}

export function noActions(): Actions {
  return { txns: [], adds: [], removes: [], sidecars: [] };
}

/** @throws MalformedAction */
export function parseActions(bytes: Uint8Array): Actions {
  const actions = noActions();
  let lineNumber = 0;
  for (const line of new TextDecoder().decode(bytes).split("\n")) {
    lineNumber++;
    if (line.trim() === "") continue;
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch (cause) {
      throw new MalformedAction(`line ${lineNumber} is not JSON`, { cause });
    }
    if (!isRecord(json)) throw new MalformedAction(`line ${lineNumber} is not an object`);
    collectAction(json, actions);
  }
  return actions;
}

/** Takes in one action, from a line of JSON or from a row of a checkpoint. @throws MalformedAction */
export function collectAction(json: Record<string, unknown>, into: Actions): void {
  const { add, remove, txn, metaData, protocol, sidecar, commitInfo } = json;
  if (isRecord(add)) into.adds.push(readAdd(add));
  if (isRecord(remove)) into.removes.push(readRemove(remove));
  if (isRecord(txn)) into.txns.push(readTxn(txn));
  if (isRecord(metaData)) into.metadata = readMetadata(metaData);
  if (isRecord(protocol)) into.protocol = readProtocol(protocol);
  if (isRecord(sidecar)) into.sidecars.push(text(sidecar, "sidecar", "path"));
  if (isRecord(commitInfo)) into.commitInfo = commitInfo;
}

/** One commit's file. What the state keeps beside these actions is all in them, so reading it back gives the same. */
export function serializeActions(actions: Actions): Uint8Array {
  const lines: unknown[] = [];
  if (actions.commitInfo) lines.push({ commitInfo: actions.commitInfo });
  if (actions.protocol) lines.push({ protocol: actions.protocol });
  if (actions.metadata) lines.push({ metaData: actions.metadata });
  for (const txn of actions.txns) lines.push({ txn });
  for (const file of actions.removes) lines.push({ remove: removeRecord(file) });
  for (const file of actions.adds) lines.push({ add: addRecord(file) });
  return new TextEncoder().encode(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

export function addRecord(file: AddedFile): Record<string, unknown> {
  return {
    path: encodePath(file.path),
    partitionValues: file.partition,
    size: file.sizeBytes,
    modificationTime: file.modifiedAtMs,
    dataChange: file.dataChange,
    stats: file.statsText,
    tags: file.tags,
  };
}

export function removeRecord(file: RemovedFile): Record<string, unknown> {
  const known = file.partition !== undefined && file.sizeBytes !== undefined;
  return {
    path: encodePath(file.path),
    deletionTimestamp: file.removedAtMs,
    dataChange: file.dataChange,
    ...(known && { extendedFileMetadata: true, partitionValues: file.partition, size: file.sizeBytes }),
    stats: file.statsText,
  };
}

function readAdd(json: Record<string, unknown>): AddedFile {
  const partition = readPartitionValues(json.partitionValues);
  if (!partition) throw new MalformedAction("has an add action whose partitionValues are not texts");
  return new AddedFile({
    path: path(json, "add"),
    sizeBytes: whole(json, "add", "size"),
    modifiedAtMs: whole(json, "add", "modificationTime"),
    partition,
    statsText: typeof json.stats === "string" ? json.stats : undefined,
    // A checkpoint may leave it out: there it says nothing.
    dataChange: json.dataChange !== false,
    tags: isRecord(json.tags) && Object.keys(json.tags).length > 0 ? (json.tags as Record<string, string>) : undefined,
    deletionVector: deletionVector(json),
  });
}

function readRemove(json: Record<string, unknown>): RemovedFile {
  return {
    path: path(json, "remove"),
    deletionVector: deletionVector(json),
    removedAtMs: optionalWhole(json.deletionTimestamp) ?? 0,
    dataChange: json.dataChange !== false,
    sizeBytes: optionalWhole(json.size),
    partition: isRecord(json.partitionValues) ? readPartitionValues(json.partitionValues) : undefined,
    statsText: typeof json.stats === "string" ? json.stats : undefined,
  };
}

function readTxn(json: Record<string, unknown>): Txn {
  const version = whole(json, "txn", "version");
  return { appId: text(json, "txn", "appId"), version, lastUpdated: optionalWhole(json.lastUpdated) };
}

function readMetadata(json: Record<string, unknown>): Metadata {
  const format = isRecord(json.format) ? json.format : {};
  return {
    id: text(json, "metaData", "id"),
    name: optionalText(json.name),
    description: optionalText(json.description),
    format: { provider: optionalText(format.provider) ?? "parquet", options: texts(format.options) },
    schemaString: optionalText(json.schemaString),
    partitionColumns: strings(json.partitionColumns) ?? [],
    configuration: texts(json.configuration),
    createdTime: optionalWhole(json.createdTime),
  };
}

function readProtocol(json: Record<string, unknown>): Protocol {
  return {
    minReaderVersion: whole(json, "protocol", "minReaderVersion"),
    minWriterVersion: whole(json, "protocol", "minWriterVersion"),
    readerFeatures: strings(json.readerFeatures),
    writerFeatures: strings(json.writerFeatures),
  };
}

function path(json: Record<string, unknown>, action: string): string {
  const encoded = text(json, action, "path");
  const decoded = decodePath(encoded);
  if (decoded === undefined)
    throw new MalformedAction(`has the ${action} path "${encoded}", which does not lie in the table`);
  return decoded;
}

/** As the protocol derives it: storage type, path or inline bytes, and the offset where there is one. */
function deletionVector(json: Record<string, unknown>): string | undefined {
  const dv = json.deletionVector;
  if (!isRecord(dv) || typeof dv.storageType !== "string") return undefined;
  const offset = optionalWhole(dv.offset);
  return `${dv.storageType}${dv.pathOrInlineDv}${offset === undefined ? "" : `@${offset}`}`;
}

function text(json: Record<string, unknown>, action: string, field: string): string {
  const value = json[field];
  if (typeof value !== "string") throw new MalformedAction(`has a ${action} action without ${field}`);
  return value;
}

function whole(json: Record<string, unknown>, action: string, field: string): number {
  const value = optionalWhole(json[field]);
  if (value === undefined) throw new MalformedAction(`has a ${action} action without ${field}`);
  return value;
}

/** Parquet gives 64-bit integers as bigint. */
function optionalWhole(value: unknown): number | undefined {
  const number = typeof value === "bigint" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

function optionalText(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function strings(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : undefined;
}

function texts(value: unknown): Record<string, string> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
