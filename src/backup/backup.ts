/**
 * A consistent copy of a running platform, made beside its work: ingest, queries, flushes and refreshes go on, and only the removal
 * of old files waits.
 *
 * Consistent means: what the platform could find after a crash. The records come first, then the checkpoints of what reacts to events, then the tables, all at
 * one moment, and then the log up to its last durable event, so the log has everything that these reflect, and every event acknowledged before the
 * backup began. What follows from these is left out: duplicate indexes are rebuilt from bronze when the copy is started.
 *
 * Data files and sealed segments do not change once written: those that an earlier backup in the same folder has are linked, not
 * copied. Every file, linked ones too, is read back and compared before the backup counts as made.
 */
import { link, mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { MillraceError } from "../errors.ts";
import { openFsStore } from "../lake/fs-store.ts";
import type { ObjectStore } from "../lake/object-store.ts";
import type { TableCopy } from "../lake/table-copy.ts";
import type { EventLog } from "../log/event-log.ts";
import type { State } from "../state/state.ts";
import { dumpState } from "../state/state-copy.ts";
import { checkpointFiles, isMissing } from "./checkpoint-files.ts";
import { type CreateFile, copyFile, createFile, readBack, syncFolder, writeFile } from "./copy-file.ts";
import {
  backupName,
  backupTime,
  DATA,
  INCOMPLETE,
  isBackupName,
  MANIFEST,
  MANIFEST_VERSION,
  type Manifest,
  type ManifestFile,
  RECORDS,
  readManifest,
} from "./manifest.ts";

/** What is backed up. */
export interface BackupSource {
  readonly dataDir: string;
  readonly dataFormat: number;
  readonly project: string;
  /** Of this program. */
  readonly millrace: string;
  readonly log: Required<Pick<EventLog, "hold">>;
  readonly store: ObjectStore;
  readonly lake: {
    /** Does work while no file is removed. */
    undisturbed<T>(work: () => Promise<T>): Promise<T>;
    /** Every table at one moment, which is now. */
    copies(): TableCopy[];
    /** Tables that nobody commits to any more. */
    formerCopies(): Promise<TableCopy[]>;
  };
  readonly state: State;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
}

export interface BackupOptions {
  /** Folder of this platform's backups; made when it is missing. */
  readonly dir: string;
  /** Older backups beyond this number are removed once the new one is made. All stay unless given. */
  readonly keep?: number | undefined;
  readonly signal?: AbortSignal;
  /** The disk written to; the real one unless given. */
  readonly create?: CreateFile;
}

export interface BackupReport {
  /** The folder of this backup. */
  readonly backup: string;
  readonly files: number;
  readonly bytes: number;
  /** Of these files, those that an earlier backup had. */
  readonly linkedFiles: number;
  readonly copiedBytes: number;
  /** Events in the log's copy, over all streams. */
  readonly events: number;
  readonly tables: number;
  readonly elapsedMs: number;
}

/**
 * Makes a backup. Nothing of one that fails stays; one whose process dies stays as a folder whose name ends with `.incomplete`,
 * which restores refuse and the next backup removes.
 * @throws BACKUP_TARGET_REFUSED, BACKUP_FAILED, STATE_UNAVAILABLE
 */
export async function makeBackup(source: BackupSource, options: BackupOptions): Promise<BackupReport> {
  const dir = resolve(options.dir);
  const started = performance.now();
  refuseOverlap(dir, source.dataDir);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return await source.lake.undisturbed(async () => {
      const hold = source.log.hold();
      try {
        const making = new Backup(source, dir, options);
        return { ...(await making.make(hold.contents)), elapsedMs: Math.round(performance.now() - started) };
      } finally {
        hold.release();
      }
    });
  } catch (cause) {
    if (cause instanceof MillraceError && !DISK_ERRORS.has(cause.code)) throw cause;
    const reason = options.signal?.aborted ? "it was cancelled" : (cause as Error).message;
    throw new MillraceError("BACKUP_FAILED", { dir, reason }, { cause });
  }
}

/** The store's words for a disk that refuses; here it is the backup's disk that is meant as well. */
const DISK_ERRORS = new Set<string>(["LAKE_UNAVAILABLE"]);

/** A copy that fills the disk would take the room that acknowledged events need if both lie on one disk. */
const LEFT_FREE_BYTES = 64 * 1024 * 1024;

interface Wanted {
  /** Below the backup's folder. */
  readonly path: string;
  readonly from: string;
  /** In the store; undefined for what is none of its objects. */
  readonly key?: string;
  readonly bytes: number;
  /** `name`: the name says that the content never changes; `content`: it may be the same; `none`: it surely is not. */
  readonly sharable: "name" | "content" | "none";
}

class Backup {
  readonly #source: BackupSource;
  readonly #dir: string;
  readonly #o: BackupOptions;
  readonly #create: CreateFile;
  readonly #startedAtMs: number;
  #name: string;
  readonly #files: ManifestFile[] = [];
  readonly #folders = new Set<string>();
  #linked = 0;
  #copiedBytes = 0;

  constructor(source: BackupSource, dir: string, options: BackupOptions) {
    this.#source = source;
    this.#dir = dir;
    this.#o = options;
    this.#create = options.create ?? createFile;
    this.#startedAtMs = source.clock();
    this.#name = backupName(this.#startedAtMs);
  }

  get #building(): string {
    return join(this.#dir, this.#name + INCOMPLETE);
  }

  async make(log: ReturnType<BackupSource["log"]["hold"]>["contents"]): Promise<Omit<BackupReport, "elapsedMs">> {
    const own = this.#source.lake.copies().find(({ location }) => location === "system/dead_letters");
    const platform = own?.tableId ?? "";
    const earlier = await this.#earlier(platform);
    try {
      await this.#folder(this.#building);
      // The records before the tables: what they say was done for a version of a table is done again rather than left out.
      await this.#records();
      // Checkpoints before the log: it then has everything that they reflect, and what was emitted since is found in it.
      await this.#checkpoints();
      // In one breath: the tables, then the log. Nothing may be waited for in between.
      const tables = this.#source.lake.copies();
      const reading = log();
      const contents = await reading;
      tables.push(...(await this.#source.lake.formerCopies()));
      const wanted = await this.#wanted(tables, contents.files);
      await this.#checkRoom(wanted, earlier);
      for (const file of wanted) await this.#place(file, earlier);
      await this.#tableLogs(tables);
      for (const folder of this.#folders) await syncFolder(folder);
      const manifest: Manifest = {
        ...{ version: MANIFEST_VERSION, dataFormat: this.#source.dataFormat, platform },
        ...{ project: this.#source.project, millrace: this.#source.millrace },
        startedAt: new Date(this.#startedAtMs).toISOString(),
        finishedAt: new Date(this.#source.clock()).toISOString(),
        streams: contents.partitions,
        tables: tables.map(({ location, version }) => ({ name: location.replace("/", "."), version })),
        files: this.#files,
      };
      const backup = await this.#finish(manifest);
      await this.#removeOld();
      const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
      return {
        backup,
        files: this.#files.length,
        bytes: sum(this.#files.map(({ bytes }) => bytes)),
        linkedFiles: this.#linked,
        copiedBytes: this.#copiedBytes,
        events: sum(contents.partitions.map(({ start, end }) => end - start)),
        tables: tables.length,
      };
    } catch (error) {
      // The room it took is given back; should even this fail, the next backup here removes it.
      await rm(this.#building, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** The newest finished backup here, whose files may be linked, and its manifest. Leftovers of interrupted ones are removed. */
  async #earlier(platform: string): Promise<{ dir: string; files: ReadonlyMap<string, ManifestFile> } | undefined> {
    const names = (await readdir(this.#dir)).sort();
    const left = (name: string) => name.endsWith(INCOMPLETE) && isBackupName(name.slice(0, -INCOMPLETE.length));
    const strange = names.find((name) => !isBackupName(name) && !left(name));
    // A whole disk is a fair target, and has this.
    if (strange !== undefined && strange !== "lost+found")
      throw refused(this.#dir, `it holds "${strange}", which is no backup`);
    const newest = names.filter(isBackupName).at(-1);
    const manifest = newest === undefined ? undefined : await readManifest(join(this.#dir, newest));
    if (newest !== undefined && manifest === undefined)
      throw refused(this.#dir, `"${newest}" in it has no ${MANIFEST}`);
    if (manifest !== undefined && manifest.platform !== platform) {
      throw refused(this.#dir, `it holds backups of another platform (project "${manifest.project}")`);
    }
    // The newest is the one that was made last, also after the clock was set back.
    if (newest !== undefined && newest >= this.#name) this.#name = backupName(backupTime(newest) + 1);
    for (const name of names.filter(left)) await rm(join(this.#dir, name), { recursive: true, force: true });
    if (newest === undefined || manifest === undefined) return undefined;
    return { dir: join(this.#dir, newest), files: new Map(manifest.files.map((file) => [file.path, file])) };
  }

  async #wanted(
    tables: readonly TableCopy[],
    segments: readonly { name: string; path: string; bytes: number }[],
  ): Promise<Wanted[]> {
    const { dataDir, store } = this.#source;
    const wanted: Wanted[] = [];
    for (const name of ["format.json", "admin.key", "aws.secret"]) {
      const from = join(dataDir, name);
      // The secret of access keys comes with the first of them.
      const found = await stat(from).catch((error: NodeJS.ErrnoException) => {
        if (name === "aws.secret" && error.code === "ENOENT") return undefined;
        throw error;
      });
      if (found !== undefined) wanted.push({ path: `${DATA}/${name}`, from, bytes: found.size, sharable: "none" });
    }
    for (const { name, path: from, bytes } of segments) {
      // Of two lives that went on from one restored backup, each may have written other events under the same name.
      wanted.push({ path: `${DATA}/log/${name}`, from, bytes, sharable: "content" });
    }
    for (const { location, files } of tables) {
      for (const { path, sizeBytes: bytes } of files) {
        const key = `${location}/${path}`;
        wanted.push({ path: `${DATA}/lake/${key}`, from: store.localPath(key), key, bytes, sharable: "name" });
      }
    }
    return wanted;
  }

  async #checkRoom(
    wanted: readonly Wanted[],
    earlier: { files: ReadonlyMap<string, ManifestFile> } | undefined,
  ): Promise<void> {
    const { bavail, bsize } = await statfs(this.#dir);
    const needed = wanted
      .filter(({ path, bytes }) => earlier?.files.get(path)?.bytes !== bytes)
      .reduce((sum, { bytes }) => sum + bytes, 0);
    const free = bavail * bsize;
    if (needed + LEFT_FREE_BYTES <= free) return;
    const reason = `it needs ${needed} bytes and ${LEFT_FREE_BYTES} more that stay free; the disk has ${free} left`;
    throw new MillraceError("BACKUP_FAILED", { dir: this.#dir, reason });
  }

  async #records(): Promise<void> {
    const path = join(this.#building, RECORDS);
    const copied = await writeFile(path, this.#create, (write) =>
      dumpState(this.#source.state, (lines) => write(Buffer.from(lines))),
    );
    await this.#accept(RECORDS, copied);
    this.#copiedBytes += copied.bytes;
  }

  /** Each as far as it is; what lies behind the last commit in it does not count. */
  async #checkpoints(): Promise<void> {
    const { signal } = this.#o;
    const done = new Set<string>();
    for (let again = true; again; ) {
      again = false;
      for (const { name, path, bytes } of await checkpointFiles(this.#source.dataDir)) {
        if (done.has(name)) continue;
        const to = join(this.#building, DATA, name);
        await this.#folder(dirname(to));
        try {
          const copied = await copyFile(path, to, bytes, { create: this.#create, signal });
          this.#copiedBytes += copied.bytes;
          await this.#accept(`${DATA}/${name}`, copied);
        } catch (error) {
          if (!isMissing(error)) throw error;
          // A newer one has taken its place meanwhile.
          await rm(to, { force: true });
          again = true;
          continue;
        }
        done.add(name);
      }
    }
  }

  async #place(file: Wanted, earlier: { dir: string; files: ReadonlyMap<string, ManifestFile> } | undefined) {
    const { signal } = this.#o;
    const to = join(this.#building, file.path);
    await this.#folder(dirname(to));
    const before = earlier?.files.get(file.path);
    if (earlier && before && (await this.#isSame(file, before)) && (await linked(join(earlier.dir, file.path), to))) {
      const found = await readBack(to, undefined, signal);
      if (found.sha256 === before.sha256) {
        this.#files.push(before);
        this.#linked++;
        return;
      }
      await rm(to); // the earlier copy is damaged; this backup gets a good one
    }
    const release = file.key === undefined ? () => undefined : await this.#source.store.hold([file.key], signal);
    const copied = await copyFile(file.from, to, file.bytes, { create: this.#create, signal }).finally(release);
    if (copied.bytes !== file.bytes) {
      const reason = `${file.from} has ${copied.bytes} bytes where ${file.bytes} belong`;
      throw new MillraceError("BACKUP_FAILED", { dir: this.#dir, reason });
    }
    this.#copiedBytes += copied.bytes;
    await this.#accept(file.path, copied);
  }

  async #isSame(file: Wanted, before: ManifestFile): Promise<boolean> {
    if (file.sharable === "none" || before.bytes !== file.bytes) return false;
    if (file.sharable === "name") return true;
    return (await readBack(file.from, file.bytes, this.#o.signal)).sha256 === before.sha256;
  }

  /** Takes a written file into the backup if reading it gives what was written. */
  async #accept(path: string, written: { bytes: number; sha256: string }): Promise<void> {
    const found = await readBack(join(this.#building, path), undefined, this.#o.signal);
    if (found.sha256 !== written.sha256) {
      const reason = `reading ${path} back gave something else than was written`;
      throw new MillraceError("BACKUP_FAILED", { dir: this.#dir, reason });
    }
    this.#files.push({ path, ...written });
  }

  async #tableLogs(tables: readonly TableCopy[]): Promise<void> {
    const lake = `${DATA}/lake`;
    const target = await openFsStore(join(this.#building, lake));
    for (const table of tables) {
      this.#o.signal?.throwIfAborted();
      await table.writeLog(target);
      for (const { key } of await target.list(`${table.location}/_delta_log/`)) {
        const found = await readBack(join(this.#building, lake, key));
        this.#files.push({ path: `${lake}/${key}`, ...found });
        this.#copiedBytes += found.bytes;
      }
    }
    // The store's place for files it is writing.
    await rm(join(this.#building, lake, ".tmp"), { recursive: true, force: true });
  }

  async #finish(manifest: Manifest): Promise<string> {
    const path = join(this.#building, MANIFEST);
    await writeFile(path, this.#create, (write) => write(Buffer.from(`${JSON.stringify(manifest)}\n`)));
    await syncFolder(this.#building);
    const backup = join(this.#dir, this.#name);
    await rename(this.#building, backup);
    await syncFolder(this.#dir);
    return backup;
  }

  async #removeOld(): Promise<void> {
    const { keep } = this.#o;
    if (keep === undefined) return;
    const finished = (await readdir(this.#dir)).filter(isBackupName).sort();
    for (const name of finished.slice(0, -keep)) {
      // Under the name of an incomplete one first: half of a backup must not look like a whole one.
      await rename(join(this.#dir, name), join(this.#dir, name + INCOMPLETE));
      await rm(join(this.#dir, name + INCOMPLETE), { recursive: true, force: true });
    }
  }

  /** Makes a folder with those above it, and remembers all of them to be made durable. */
  async #folder(path: string): Promise<void> {
    if (this.#folders.has(path)) return;
    if (path !== this.#building) await this.#folder(dirname(path));
    await mkdir(path, { recursive: true, mode: 0o700 });
    this.#folders.add(path);
  }
}

function refuseOverlap(dir: string, dataDir: string): void {
  const inside = (path: string, folder: string) => path === folder || path.startsWith(folder + sep);
  const data = resolve(dataDir);
  if (inside(dir, data)) throw refused(dir, `it is part of the data folder ${data}`);
  if (inside(data, dir)) throw refused(dir, `the data folder ${data} lies in it`);
}

function refused(dir: string, reason: string): MillraceError {
  return new MillraceError("BACKUP_TARGET_REFUSED", { dir, reason });
}

/** False where the two cannot be one file: another file system, one without links, too many links. */
async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (["ENOENT", "EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code)) return false;
    throw error;
  }
}
