/** Runs in the console: their steps as a graph with what each is up to, their log as it is written, and backfills of every kind. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { StepView } from "../../packages/console/src/api.ts";
import { edgesOf, labelOf } from "../../packages/console/src/pages/runs/step-graph.ts";
import { OpenConsole, PHONE, tooWide, violations } from "./open-console.ts";

let c: OpenConsole;
before(async () => {
  c = await OpenConsole.start("test/console/runs-project");
});
after(() => c?.stop());

function step(key: string, from: number, to: number | null): StepView {
  const at = (second: number) => new Date(second * 1000).toISOString();
  return {
    ...{
      step: key,
      kind: "step",
      status: to === null ? "running" : "succeeded",
      attempts: 1,
      input: null,
      output: null,
    },
    ...{ error: null, startedAt: at(from), finishedAt: to === null ? null : at(to), wakeAt: null, elapsedMs: null },
  };
}
const drawn = (steps: readonly StepView[]) => edgesOf(steps).map(({ from, to }) => `${from} > ${to}`);

test("steps follow each other, branches and items fork and join, and what ran at once is side by side", () => {
  assert.deepEqual(
    drawn([
      step("begin", 0, 1),
      step("load/a/fetch", 1, 4),
      step("load/b/fetch", 1, 2),
      step("load/a/check", 4, 5),
      step("files[0]/read", 5, 6),
      step("files[1]/read", 5, 7),
      step("one", 8, 10),
      step("two", 9, 11),
      step("end", 11, null),
    ]),
    [
      "begin > load/a/fetch",
      "load/a/fetch > load/a/check",
      "begin > load/b/fetch",
      "load/a/check > files[0]/read",
      "load/b/fetch > files[0]/read",
      "load/a/check > files[1]/read",
      "load/b/fetch > files[1]/read",
      "files[0]/read > one",
      "files[1]/read > one",
      "files[0]/read > two",
      "files[1]/read > two",
      "one > end",
      "two > end",
    ],
  );
  assert.deepEqual(drawn([]), []);
  assert.deepEqual(drawn([step("load/a/x/1/deep", 0, 1), step("load/a/x/2/deep", 0, 1)]), []);
  assert.equal(labelOf("load/a%2fb/fetch#2"), "load › a/b › fetch#2");
});

test("a run as a graph: each step with its state, which changes while one looks, by an address of its own", async () => {
  const { run } = await c.call<{ run: { id: string } }>("POST", "/v1/workflows/shapes/runs");
  const page = await c.open(`/runs/${run.id}?show=graph`);
  try {
    const node = (name: string) => page.locator(".react-flow__node", { hasText: name });
    await node("word").filter({ hasText: "waiting" }).waitFor();
    await node("load › a › check").filter({ hasText: "succeeded" }).waitFor();
    assert.equal(await page.locator(".react-flow__node").count(), 7);
    await page.getByText("waiting for the word").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.emulateMedia({ colorScheme: "dark" });
    assert.deepEqual(await violations(page), []);
    await node("load › a › fetch").click();
    await page.getByRole("region", { name: "output of the step" }).getByText('"a"').waitFor();
    assert.equal(new URL(page.url()).search, "?show=graph&step=load%2Fa%2Ffetch");
    await c.call("POST", `/v1/runs/${run.id}/signals/word`, {});
    await node("end").filter({ hasText: "succeeded" }).waitFor();
    await page.setViewportSize(PHONE);
    assert.ok((await tooWide(page)) <= 0);
    await page.getByRole("button", { name: "On a line of time" }).click();
    await page.getByRole("link", { name: "load › b › fetch" }).click();
    await page.getByRole("region", { name: "output of the step" }).getByText('"b"').waitFor();
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
  }
});

for (const [by, fill, runs] of [
  ["day", ["2026-01-01", "2026-01-03"], "3 of 3"],
  ["hour", ["2026-01-01T22:00", "2026-01-02T01:00"], "4 of 4"],
  ["month", ["2025-11", "2026-01"], "3 of 3"],
  ["list", ["DE, FR\nGB"], "3 of 3"],
] as const) {
  test(`a backfill by ${by} shows how far it is, and what failed`, async () => {
    const page = await c.open("/runs?workflow=filled");
    try {
      await page.getByText("Backfill", { exact: true }).first().click();
      await page.getByRole("combobox", { name: "What to backfill filled by" }).selectOption(by);
      const fields = by === "list" ? ["Names of partitions, one per line or with commas"] : ["From", "To, inclusive"];
      for (const [i, field] of fields.entries()) await page.getByLabel(field, { exact: true }).fill(fill[i] as string);
      if (by === "list") assert.deepEqual(await violations(page), []);
      await page.getByRole("button", { name: "Backfill" }).click();
      await page.getByRole("heading", { name: `${runs} partitions` }).waitFor();
      await page.getByText("done", { exact: true }).waitFor();
      if (by === "list") await page.getByText("GB is away").waitFor();
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(page.complaints, []);
    } finally {
      await page.close();
    }
  });
}
