/** Where the tables are: in the data folder, or in a bucket. The one place that chooses. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Settings } from "../config/settings.ts";
import type { InputFiles } from "../engine/sql-engine.ts";
import { MillraceError } from "../errors.ts";
import type { FileSystem } from "../lake/file-system.ts";
import { openFsStore } from "../lake/fs-store.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import type { S3Store } from "../lake/s3/open-s3-store.ts";

export interface LakeStore {
  readonly store: ObjectStore;
  /** Set where files are only here while they are held. */
  readonly inputs: InputFiles | undefined;
  /** The bucket's store, for whoever asks how it is; undefined where the tables are in the data folder. */
  readonly remote: S3Store | undefined;
  /** For people: where the tables are. */
  readonly place: string;
  close(): Promise<void>;
}

export interface LakeStoreParts {
  readonly dir: string;
  readonly settings: Pick<Settings, StoreSetting>;
  readonly fs: FileSystem;
  readonly clock: () => number;
}

type StoreSetting =
  | "storeUrl"
  | "s3Endpoint"
  | "s3Region"
  | "s3PathStyle"
  | "s3AccessKeyId"
  | "s3SecretAccessKey"
  | "s3Encryption"
  | "s3KmsKey"
  | "storeCacheBytes"
  | "storeTimeoutMs";

/** @throws STORE_ELSEWHERE when the data folder's tables are not where the settings say; what opening a store throws */
export async function openLakeStore({ dir, settings, fs, clock }: LakeStoreParts): Promise<LakeStore> {
  const { storeUrl } = settings;
  const lake = join(dir, "lake");
  await checkPlace(dir, lake, storeUrl);
  if (storeUrl === undefined) {
    const store = await openFsStore(lake, { fs, clock });
    return { store, inputs: undefined, remote: undefined, place: lake, close: async () => undefined };
  }
  // A large library, of which a platform with local tables loads nothing.
  const { openS3Store } = await import("../lake/s3/open-s3-store.ts");
  const remote = await openS3Store({
    url: storeUrl,
    ...{ endpoint: settings.s3Endpoint, region: settings.s3Region, credentials: credentialsOf(settings) },
    pathStyle: settings.s3PathStyle === "auto" ? undefined : settings.s3PathStyle === "on",
    encryption: encryptionOf(settings),
    cacheDir: join(dir, "cache"),
    cacheBytes: settings.storeCacheBytes,
    timeoutMs: settings.storeTimeoutMs,
    clock,
  });
  await writeFile(join(dir, MARK), `${JSON.stringify({ storeUrl })}\n`);
  return { store: remote, inputs: inputsOf(remote), remote, place: storeUrl, close: async () => remote.close() };
}

/** Tells later starts where the tables of this data folder are. */
const MARK = "store.json";

/**
 * Empty tables in another place would take the events from there on, and the log forgets what the right ones have. An older platform's
 * folder has no mark: its tables are in it.
 */
async function checkPlace(dir: string, lake: string, storeUrl: string | undefined): Promise<void> {
  const mark = join(dir, MARK);
  const known = await readFile(mark, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  const there = known === undefined ? undefined : (JSON.parse(known) as { storeUrl?: string }).storeUrl;
  const elsewhere = (place: string, what: string) =>
    new MillraceError("STORE_ELSEWHERE", { there: place, here: storeUrl ?? "the data folder", mark: what });
  if (there !== undefined && there !== storeUrl) throw elsewhere(there, mark);
  if (there === undefined && storeUrl !== undefined && (await hasTables(lake))) throw elsewhere(lake, lake);
  if (there === undefined) await rm(mark, { force: true });
}

async function hasTables(lake: string): Promise<boolean> {
  const names = await readdir(lake).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.some((name) => !name.startsWith("."));
}

/** @throws SETTING_INVALID when one is given without the other */
function credentialsOf({ s3AccessKeyId, s3SecretAccessKey }: Pick<Settings, StoreSetting>) {
  if (s3AccessKeyId === undefined && s3SecretAccessKey === undefined) return undefined;
  if (s3AccessKeyId !== undefined && s3SecretAccessKey !== undefined) {
    return { accessKeyId: s3AccessKeyId, secretAccessKey: s3SecretAccessKey };
  }
  const [name, other] =
    s3AccessKeyId === undefined ? ["s3AccessKeyId", "s3SecretAccessKey"] : ["s3SecretAccessKey", "s3AccessKeyId"];
  throw new MillraceError("SETTING_INVALID", {
    ...{ name, source: "not set", allowed: `set together with ${other}`, got: "nothing" },
  });
}

/** @throws SETTING_INVALID when a key is given that nothing would use */
function encryptionOf({ s3Encryption, s3KmsKey }: Pick<Settings, StoreSetting>) {
  if (s3Encryption === "kms") return { kind: "kms", keyId: s3KmsKey } as const;
  if (s3KmsKey !== undefined) {
    const allowed = "kms where s3KmsKey is set";
    throw new MillraceError("SETTING_INVALID", { name: "s3Encryption", source: "given", allowed, got: s3Encryption });
  }
  return s3Encryption === "s3" ? ({ kind: "s3" } as const) : undefined;
}

/** The files that statements name, as the store knows them. */
function inputsOf(store: S3Store): InputFiles {
  return {
    root: store.copiesRoot,
    async hold(paths, signal) {
      try {
        return await store.hold(
          paths.map((path) => relative(store.copiesRoot, path)),
          signal,
        );
      } catch (cause) {
        if (!(cause instanceof MillraceError) || cause.code !== "OBJECT_NOT_FOUND") throw cause;
        // As for a file that is gone from the disk.
        throw new MillraceError("ENGINE_IO", { reason: cause.message }, { cause });
      }
    },
  };
}
