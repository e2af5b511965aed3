import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type BackupOptions, type BackupSource, makeBackup } from "../../src/backup/backup.ts";
import { type CreateFile, createFile } from "../../src/backup/copy-file.ts";
import { readManifest } from "../../src/backup/manifest.ts";
import { checkBackup, restoreBackup } from "../../src/backup/restore.ts";
import { openFsStore } from "../../src/lake/fs-store.ts";
import { openDeltaTable } from "../../src/lake/open-delta-table.ts";
import { openDataFolder } from "../../src/log/data-folder.ts";
import { openState, type State } from "../../src/state/state.ts";
import { DAY_MS, openFlow } from "../flow/open-flow.ts";

let dir: string;
let state: State;
let flow: Awaited<ReturnType<typeof openFlow>>;
let source: BackupSource;
let nowMs = Date.now();
let sent = 0;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-making-backups-"));
  const dataDir = join(dir, "data");
  await (await openDataFolder(dataDir)).close();
  await writeFile(join(dataDir, "admin.key"), "mk_key\n");
  state = await openState({ folder: join(dir, "postgres") });
  flow = await openFlow(dataDir, { clock: () => nowMs });
  source = {
    ...{ dataDir, dataFormat: 1, project: "shop", millrace: "0.0.0", state, clock: () => nowMs },
    log: { hold: () => flow.log.hold!() },
    lake: flow.flow.lake,
    store: await openFsStore(join(dataDir, "lake")),
  };
});
after(async () => {
  await flow.crash();
  await state.close();
  await rm(dir, { recursive: true, force: true, maxRetries: 5 });
});

const [STREAM, TABLE] = ["orders", "bronze.orders"];

/** Big enough that a few fill a segment. */
async function events(count: number): Promise<void> {
  const batch = Array.from({ length: count }, () => ({ order_id: `o${sent++}`, filler: "x".repeat(2_000) }));
  await flow.append(STREAM, batch);
}

async function backup(to: string, options: Partial<BackupOptions> = {}) {
  nowMs++;
  return makeBackup(source, { dir: to, ...options });
}

/** Offset after the last event of the stream that is in a backup. */
async function ordersIn(made: { backup: string }): Promise<number | undefined> {
  const manifest = await readManifest(made.backup);
  return manifest?.streams.find(({ stream }) => stream === STREAM)?.end;
}

const code = (wanted: string) => (error: unknown) => (error as { code: string }).code === wanted;

/** A disk that takes so many bytes. */
function small(bytes: number): CreateFile {
  let left = bytes;
  return async (path) => {
    const file = await createFile(path);
    return {
      ...file,
      async write(piece) {
        left -= piece.length;
        if (left < 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
        await file.write(piece);
      },
    };
  };
}

test("a disk that fills up fails the backup by name, nothing of it stays, and the next one is made", async () => {
  await events(100);
  await flow.flow.flush();
  const to = join(dir, "full");
  for (const bytes of [0, 300, 20_000]) {
    await assert.rejects(backup(to, { create: small(bytes) }), (error: Error) => {
      assert.ok(code("BACKUP_FAILED")(error));
      assert.match(error.message, /no space left/);
      return true;
    });
    assert.deepEqual(await readdir(to), []);
  }
  await events(1);
  assert.equal(await ordersIn(await backup(to)), sent);
  await checkBackup(to);
});

test("a backup whose caller goes away is given up", async () => {
  const to = join(dir, "cancelled");
  const stop = new AbortController();
  const create: CreateFile = async (path) => {
    stop.abort();
    return createFile(path);
  };
  await assert.rejects(backup(to, { create, signal: stop.signal }), /it was cancelled/);
  assert.deepEqual(await readdir(to), []);
});

test("what retention, compaction and vacuum would remove while it is copied stays until the end", async () => {
  const to = join(dir, "held");
  await events(1_200); // more than a segment of 1 MiB
  await flow.flow.flush();
  let vacuum: Promise<unknown> | undefined;
  const create: CreateFile = async (path) => {
    if (vacuum === undefined && path.endsWith("format.json")) {
      vacuum = Promise.resolve();
      await events(600);
      nowMs += 30 * DAY_MS;
      await flow.flow.flush(); // releases what came before
      vacuum = flow.flow.lake.vacuum(0, nowMs);
    }
    return createFile(path);
  };
  const before = sent;
  const made = await backup(to, { create });
  assert.equal(await ordersIn(made), before);
  await vacuum;
  await checkBackup(to);
  await flow.log.release(STREAM, 0, sent);
  assert.ok(flow.log.ends(STREAM, 0).start > 0, "and goes then");
  const table = openDeltaTable(await openFsStore(join(made.backup, "data/lake")), "bronze/orders");
  const copied = await table.snapshot();
  assert.equal(copied?.txn.get("millrace:orders:0"), before - 1, "as far as it was when the backup began");
});

test("a second backup shares unchanged files, copies damaged ones anew, and old ones go when told", async () => {
  const to = join(dir, "series");
  const first = await backup(to);
  const parquet = (await readdir(join(first.backup, "data/lake/bronze/orders"))).find((name) =>
    name.endsWith("parquet"),
  );
  await rm(join(first.backup, "data/lake/bronze/orders", parquet!));
  await writeFile(join(first.backup, "data/lake/bronze/orders", parquet!), "damaged");
  await events(1);
  const second = await backup(to);
  assert.ok(second.linkedFiles > 0);
  assert.equal(await ordersIn(second), sent);
  await assert.rejects(checkBackup(first.backup), code("BACKUP_DAMAGED"));
  await checkBackup(second.backup);
  const third = await backup(to, { keep: 2 });
  assert.deepEqual(
    (await readdir(to)).map((name) => join(to, name)),
    [second.backup, third.backup],
  );
});

test("after the clock was set back the newest backup is still the one made last", async () => {
  const to = join(dir, "clock");
  await backup(to);
  nowMs -= DAY_MS;
  const { backup: last } = await backup(to, { keep: 1 });
  nowMs += DAY_MS;
  assert.equal((await checkBackup(to)).backup, last);
});

test("an interrupted backup is refused by restore and removed by the next backup", async () => {
  const to = join(dir, "interrupted");
  const left = join(to, "2026-01-31T08-15-00.000Z.incomplete");
  await mkdir(join(left, "data"), { recursive: true });
  await writeFile(join(left, "data/format.json"), '{"version":1}');
  const target = join(dir, "of-interrupted");
  await assert.rejects(restoreBackup({ from: to, dataDir: target }), /only an interrupted one/);
  await assert.rejects(restoreBackup({ from: left, dataDir: target }), /interrupted while it was being made/);
  assert.ok(!existsSync(target));
  const { backup: made } = await backup(to);
  assert.deepEqual(
    (await readdir(to)).map((name) => join(to, name)),
    [made],
  );
});

test("folders that are not for this platform's backups are refused and left as they are", async () => {
  const { dataDir } = source;
  await assert.rejects(backup(dataDir), /part of the data folder/);
  await assert.rejects(backup(join(dataDir, "lake")), /part of the data folder/);
  await assert.rejects(backup(dir), /the data folder .* lies in it/);
  const full = join(dir, "holiday");
  await mkdir(full);
  await writeFile(join(full, "photo.jpg"), "x");
  await assert.rejects(backup(full), /holds "photo.jpg", which is no backup/);
  assert.deepEqual(await readdir(full), ["photo.jpg"]);
  await writeFile(join(dir, "file"), "x");
  await assert.rejects(backup(join(dir, "file")), code("BACKUP_FAILED"));

  const other = join(dir, "other");
  await backup(other);
  const copies = source.lake.copies.bind(source.lake);
  const stranger = {
    ...source,
    lake: {
      undisturbed: <T>(work: () => Promise<T>) => work(),
      copies: () => copies().map((copy) => ({ ...copy, tableId: "another" })),
      formerCopies: async () => [],
    },
  };
  await assert.rejects(makeBackup(stranger, { dir: other }), /backups of another platform/);
});

test("a restore onto a disk that fills up leaves nothing, and one that was interrupted does not start", async () => {
  const to = join(dir, "restores");
  await backup(to);
  const target = join(dir, "new");
  await assert.rejects(restoreBackup({ from: to, dataDir: target, create: small(20_000) }), code("RESTORE_FAILED"));
  assert.ok(!existsSync(target));
  await mkdir(target);
  await writeFile(join(target, "restore-unfinished"), "");
  await assert.rejects(openDataFolder(target), code("DATA_FOLDER_UNFINISHED"));
  await assert.rejects(restoreBackup({ from: to, dataDir: target }), code("RESTORE_TARGET_REFUSED"));
});

test("streams and tables that no definition names any more are in the backup", async () => {
  const { dataDir } = source;
  const former = join(dataDir, "log/former/0");
  await mkdir(former, { recursive: true });
  await writeFile(join(former, "00000000000000000000.ndjson"), "{}\n");
  await writeFile(join(former, "00000000000000000000.index.ndjson"), "");
  await openDeltaTable(source.store, "silver/former").commit({
    ...{ operation: "CREATE", readVersion: -1 },
    schema: { columns: [{ name: "a", type: { kind: "string" }, nullable: true }], partitionColumns: [] },
  });
  const { backup: made } = await backup(join(dir, "former"));
  assert.ok(existsSync(join(made, "data/log/former/0/00000000000000000000.ndjson")));
  const copy = openDeltaTable(await openFsStore(join(made, "data/lake")), "silver/former");
  assert.equal((await copy.snapshot())?.columns[0]?.name, "a");
  assert.equal(flow.flow.lake.get(TABLE).name, TABLE);
});
