import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type ApiKeys, openApiKeys } from "../../src/state/api-keys.ts";
import { LedgerMinutes } from "../../src/state/ledger-minutes.ts";
import { MOST_NOTEBOOK_BYTES, Notebooks } from "../../src/state/notebooks.ts";
import { openSessions, type Sessions } from "../../src/state/sessions.ts";
import { openState, type State } from "../../src/state/state.ts";

describe("what the console keeps", { concurrency: false }, () => {
  let dir: string;
  let state: State;
  let keys: ApiKeys;
  let nowMs = Date.UTC(2026, 0, 5, 10);
  const clock = () => nowMs;
  let sessions: Sessions;
  let elsewhere: Sessions;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "millrace-console-"));
    state = await openState({ folder: join(dir, "postgres") });
    keys = await openApiKeys(state);
    sessions = await openSessions(state, { keys, clock });
    elsewhere = await openSessions(state, { keys, clock });
  });
  after(async () => {
    await sessions?.close();
    await elsewhere?.close();
    await keys?.close();
    await state?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  /** What other processes hear, they hear soon; how soon is not what is tested. */
  async function soon(what: () => boolean): Promise<void> {
    for (let i = 0; i < 1_000 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.ok(what());
  }

  async function signedIn(name: string): Promise<{ token: string; key: string }> {
    const { key, token } = await keys.create({ name, scopes: ["query"] });
    const begun = await sessions.begin(token);
    assert.equal(begun?.principal.id, key.id);
    return { token: begun!.token, key: key.id };
  }

  test("a session stands for its key, here at once and in other processes", async () => {
    const { token, key } = await signedIn("ann");
    assert.equal(sessions.verify(token)?.id, key);
    await soon(() => elsewhere.verify(token)?.id === key);
  });

  test("an unknown key begins none, and neither a key nor nonsense is a session", async () => {
    const { token: key } = await keys.create({ name: "bob", scopes: ["query"] });
    assert.equal(await sessions.begin(`${key.slice(0, -1)}x`), undefined);
    for (const wrong of [key, "", "ms_", `ms_${"A".repeat(43)}`]) assert.equal(sessions.verify(wrong), undefined);
  });

  test("the records hold no token", async () => {
    const { token } = await signedIn("secret");
    const rows = await state.query("select * from millrace.sessions");
    assert.equal(JSON.stringify(rows).includes(token.slice(3)), false);
  });

  test("a session ends when it is signed out of, everywhere", async () => {
    const { token } = await signedIn("cyd");
    await soon(() => elsewhere.verify(token) !== undefined);
    await sessions.end(token);
    assert.equal(sessions.verify(token), undefined);
    await soon(() => elsewhere.verify(token) === undefined);
    await sessions.end(token);
  });

  test("a session ends with its key, and at its time", async () => {
    const revoked = await signedIn("dan");
    await keys.revoke(revoked.key);
    assert.equal(sessions.verify(revoked.token), undefined);
    const old = await signedIn("eve");
    nowMs += 12 * 3_600_000 - 1;
    assert.notEqual(sessions.verify(old.token), undefined);
    nowMs += 1;
    assert.equal(sessions.verify(old.token), undefined);
    // Those that are over do not add up.
    await signedIn("fay");
    const [{ n } = { n: -1 }] = await state.query<{ n: number }>("select count(*)::int as n from millrace.sessions");
    assert.equal(n, 1);
  });

  test("a notebook is kept, changed, listed by name and removed", async () => {
    const notebooks = new Notebooks(state);
    const cells = [{ kind: "sql", sql: "select 1" }];
    const made = await notebooks.create({ name: "Zebras", cells, refreshS: null }, "ann");
    await notebooks.create({ name: "apples", cells: [], refreshS: 60 }, "bob");
    assert.deepEqual([made.version, made.changedBy, made.cells], [1, "ann", cells]);
    assert.deepEqual(
      (await notebooks.list()).map(({ name, refreshS }) => [name, refreshS]),
      [
        ["apples", 60],
        ["Zebras", null],
      ],
    );
    const changed = await notebooks.replace(made.id, 1, { name: "Zebras", cells: [], refreshS: 10 }, "cyd");
    assert.deepEqual([changed.version, changed.changedBy, changed.refreshS], [2, "cyd", 10]);
    await notebooks.remove(made.id);
    await assert.rejects(notebooks.show(made.id), { code: "NOTEBOOK_UNKNOWN" });
    await assert.rejects(notebooks.remove(made.id), { code: "NOTEBOOK_UNKNOWN" });
  });

  test("of two who change one version, the second is told who was first, and loses nothing of the first", async () => {
    const notebooks = new Notebooks(state);
    const { id } = await notebooks.create({ name: "shared", cells: [], refreshS: null }, "ann");
    const draft = (sql: string) => ({ name: "shared", cells: [{ kind: "sql", sql }], refreshS: null });
    await notebooks.replace(id, 1, draft("select 'ann'"), "ann");
    await assert.rejects(notebooks.replace(id, 1, draft("select 'bob'"), "bob"), {
      code: "NOTEBOOK_CHANGED",
      message: /changed by ann.*version 2.*version 1/,
    });
    assert.deepEqual((await notebooks.show(id)).cells, draft("select 'ann'").cells);
  });

  test("what is too large to be kept is refused with its size", async () => {
    const notebooks = new Notebooks(state);
    const cells = [{ kind: "text", text: "x".repeat(MOST_NOTEBOOK_BYTES) }];
    await assert.rejects(notebooks.create({ name: "huge", cells, refreshS: null }, "ann"), {
      code: "NOTEBOOK_TOO_LARGE",
    });
  });

  test("the ledger over time: the first to write a minute has written it, a step tells its worst, and what stood before is known", async () => {
    const minutes = new LedgerMinutes(state);
    const minute = (n: number) => nowMs + n * 60_000;
    const hop = (accepted: number, pending = 0, balanced = true) => ({
      ...{ stream: "orders", hop: "bronze.orders", accepted, stored: accepted - pending, duplicate: 0, filtered: 0 },
      ...{ deadLettered: 0, pending, balanced },
    });
    await minutes.write([hop(1)], minute(0));
    await minutes.write([hop(5, 4)], minute(10));
    await minutes.write([hop(6)], minute(10) + 30_000);
    await minutes.write([hop(7, 0, false)], minute(11));
    await minutes.write([hop(8)], minute(12));
    await minutes.write([{ ...hop(3), stream: "others" }], minute(12));
    const told = async (from: number, steps: number) =>
      (await minutes.read(minute(from), steps * 60_000, "orders")).flatMap(({ points }) =>
        points.map(({ atMs, accepted, pending, balanced }) => [(atMs - nowMs) / 60_000, accepted, pending, balanced]),
      );
    assert.deepEqual(await told(5, 1), [
      [0, 1, 0, true],
      [10, 5, 4, true],
      [11, 7, 0, false],
      [12, 8, 0, true],
    ]);
    assert.deepEqual(await told(10, 5), [
      [0, 1, 0, true],
      [12, 8, 4, false],
    ]);
    assert.deepEqual(
      (await minutes.read(minute(5), 60_000)).map(({ stream }) => stream),
      ["orders", "others"],
    );
    await minutes.write([hop(9)], minute(9 * 24 * 60));
    assert.deepEqual(await told(0, 1), [
      [12, 8, 0, true],
      [9 * 24 * 60, 9, 0, true],
    ]);
  });
});
