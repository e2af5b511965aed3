import { setTimeout } from "node:timers/promises";
import { constants, zstdCompressSync } from "node:zlib";
import type { SchemaElement } from "hyparquet";
import { ByteWriter, type ColumnSource, ParquetWriter } from "hyparquet-writer";
import { addRecord, type Metadata, type Protocol, removeRecord, type Txn } from "./actions.ts";
import type { AddedFile, RemovedFile } from "./data-file.ts";
import { checkpointKey, LAST_CHECKPOINT, logPrefix } from "./log-names.ts";
import type { ObjectStore } from "./object-store.ts";

/** A table's whole state at one version. */
export interface CheckpointContent {
  readonly version: number;
  readonly protocol: Protocol;
  readonly metadata: Metadata;
  readonly txns: readonly Txn[];
  readonly files: readonly AddedFile[];
  readonly tombstones: readonly RemovedFile[];
}

/** Each compressed page carries a checksum, which every reader of zstd looks at. */
const SUMMED = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };

/** Rows encoded in one go, about four milliseconds of work; more, smaller row groups make the file larger and slower. */
const ROWS_PER_SLICE = 200;

/** After each slice the process is left to what else is waiting (a commit waits for the disk about ten times) for as long. */
const PAUSE_MS = 4;

/**
 * Writes a classic (V1) checkpoint: a Parquet file with one row per action, each filling one of five struct columns; then
 * points `_last_checkpoint` at it.
 */
export async function writeCheckpoint(store: ObjectStore, location: string, content: CheckpointContent): Promise<void> {
  const { version, protocol, metadata, txns, files, tombstones } = content;
  const writer = new ParquetWriter({
    writer: new ByteWriter(),
    schema: SCHEMA,
    codec: "ZSTD",
    compressors: { ZSTD: (bytes) => zstdCompressSync(bytes, SUMMED) },
    statistics: false,
    createdBy: "Millrace",
  });
  const small = [
    { protocol: protocolRecord(protocol) },
    { metaData: metadataRecord(metadata) },
    ...txns.map((txn) => ({ txn: txnRecord(txn) })),
  ];
  await writeSlice(writer, small);
  for (let i = 0; i < files.length; i += ROWS_PER_SLICE) {
    await setTimeout(PAUSE_MS);
    await writeSlice(
      writer,
      files.slice(i, i + ROWS_PER_SLICE).map((file) => ({ add: withLongs(addRecord(file)) })),
    );
  }
  for (let i = 0; i < tombstones.length; i += ROWS_PER_SLICE) {
    await setTimeout(PAUSE_MS);
    await writeSlice(
      writer,
      tombstones.slice(i, i + ROWS_PER_SLICE).map((file) => ({ remove: withLongs(removeRecord(file)) })),
    );
  }
  await writer.finish();
  const bytes = writer.writer.getBytes();
  await store.put(checkpointKey(location, version), bytes);
  const size = small.length + files.length + tombstones.length;
  const pointer = { version, size, sizeInBytes: bytes.length, numOfAddFiles: files.length };
  await store.put(logPrefix(location) + LAST_CHECKPOINT, new TextEncoder().encode(JSON.stringify(pointer)));
}

type Row = Partial<Record<(typeof COLUMNS)[number], unknown>>;

const COLUMNS = ["txn", "add", "remove", "metaData", "protocol"] as const;

async function writeSlice(writer: ParquetWriter, rows: readonly Row[]): Promise<void> {
  const columnData: ColumnSource[] = COLUMNS.map((name) => ({
    name,
    data: rows.map((row) => row[name]),
    offsetIndex: false,
  }));
  await writer.write({ columnData, rowGroupSize: ROWS_PER_SLICE * 2 });
}

/** 64-bit columns take bigint. */
function withLongs(record: Record<string, unknown>): Record<string, unknown> {
  for (const field of ["size", "modificationTime", "deletionTimestamp"]) {
    if (typeof record[field] === "number") record[field] = BigInt(record[field]);
  }
  return record;
}

function txnRecord({ appId, version, lastUpdated }: Txn): unknown {
  return { appId, version: BigInt(version), lastUpdated: lastUpdated === undefined ? undefined : BigInt(lastUpdated) };
}

function metadataRecord(metadata: Metadata): unknown {
  const { createdTime } = metadata;
  return { ...metadata, createdTime: createdTime === undefined ? undefined : BigInt(createdTime) };
}

function protocolRecord({ minReaderVersion, minWriterVersion }: Protocol): unknown {
  return { minReaderVersion, minWriterVersion };
}

const SCHEMA: SchemaElement[] = [
  { name: "root", num_children: COLUMNS.length },
  ...struct("txn", [string("appId"), long("version"), long("lastUpdated")]),
  ...struct("add", [
    string("path"),
    map("partitionValues"),
    long("size"),
    long("modificationTime"),
    boolean("dataChange"),
    string("stats"),
    map("tags"),
  ]),
  ...struct("remove", [
    string("path"),
    long("deletionTimestamp"),
    boolean("dataChange"),
    boolean("extendedFileMetadata"),
    map("partitionValues"),
    long("size"),
    string("stats"),
  ]),
  ...struct("metaData", [
    string("id"),
    string("name"),
    string("description"),
    struct("format", [string("provider"), map("options")]),
    string("schemaString"),
    list("partitionColumns"),
    map("configuration"),
    long("createdTime"),
  ]),
  ...struct("protocol", [int("minReaderVersion"), int("minWriterVersion")]),
];

function struct(name: string, fields: SchemaElement[][]): SchemaElement[] {
  return [{ name, repetition_type: "OPTIONAL", num_children: fields.length }, ...fields.flat()];
}

function map(name: string): SchemaElement[] {
  return [
    { name, repetition_type: "OPTIONAL", num_children: 1, converted_type: "MAP" },
    { name: "key_value", repetition_type: "REPEATED", num_children: 2 },
    { name: "key", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
    { name: "value", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
  ];
}

function list(name: string): SchemaElement[] {
  return [
    { name, repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
  ];
}

function string(name: string): SchemaElement[] {
  return [{ name, type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" }];
}

function long(name: string): SchemaElement[] {
  return [{ name, type: "INT64", repetition_type: "OPTIONAL" }];
}

function int(name: string): SchemaElement[] {
  return [{ name, type: "INT32", repetition_type: "OPTIONAL" }];
}

function boolean(name: string): SchemaElement[] {
  return [{ name, type: "BOOLEAN", repetition_type: "OPTIONAL" }];
}
