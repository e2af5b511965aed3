/** A platform that was just started, with a stream and nothing in it: every page is whole, and says what to do next. */
import assert from "node:assert/strict";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { after, before, test } from "node:test";
import {
  FIRST_ALERT,
  FIRST_STREAM,
  FIRST_TABLE,
  FIRST_WORKFLOW,
} from "../../packages/console/src/first-definitions.ts";
import { RunningPlatform } from "../platform/running-platform.ts";
import { OpenConsole, PHONE, tooWide, violations } from "./open-console.ts";

const ROOT = resolve(import.meta.dirname, "../..");
let c: OpenConsole;
before(async () => {
  c = await OpenConsole.start("test/console/empty-project");
});
after(() => c?.stop());

/** A page, and the words in which it says what to do next. */
const PAGES: readonly (readonly [string, string])[] = [
  ["/", "silver.orders"],
  ["/streams", "orders"],
  ["/streams/orders", "No events in this time"],
  ["/streams/orders/live", "Waiting for events"],
  ["/tables", "A table of your own"],
  ["/tables/silver.orders", "Where it comes from"],
  ["/tables/silver.orders/sample", "send it an event"],
  ["/tables/silver.orders/profile", "No row to look at yet"],
  ["/tables/silver.orders/history", "create"],
  ["/tables/silver.orders/files", "Rows are written to files with the next flush"],
  ["/sql", "Ask something"],
  ["/runs", "No workflow is defined yet"],
  ["/alerts", "Nothing fires"],
  ["/alerts?show=all", "Nothing has ever fired"],
  ["/alerts?show=silences", "Say above which, for how long and why"],
  ["/dead-letters", "Nothing was refused"],
  ["/ledger", "every event is accounted for"],
  ["/system", "flushIntervalMs"],
  ["/nowhere/at/all", "ROUTE_UNKNOWN"],
  ["/sql/of/nothing", "There is nothing at this address"],
];

for (const [path, words] of PAGES) {
  test(`${path}: says "${words}"`, async () => {
    if (words === "ROUTE_UNKNOWN") {
      // A mistyped path of the API is told as one, and is no page.
      const response = await fetch(`${c.platform.url}${path}`);
      assert.deepEqual(
        [response.status, ((await response.json()) as { error: { code: string } }).error.code],
        [404, words],
      );
      return;
    }
    const page = await c.open(path);
    try {
      await page.locator("main").getByText(words).first().waitFor();
      await page
        .getByText(/^Loading /)
        .first()
        .waitFor({ state: "detached" });
      assert.deepEqual(await violations(page), []);
      await page.setViewportSize(PHONE);
      await page.emulateMedia({ colorScheme: "dark" });
      assert.deepEqual(await violations(page), []);
      assert.ok((await tooWide(page)) <= 0);
      assert.deepEqual(page.complaints, []);
    } finally {
      await page.close();
    }
  });
}

test("what the pages offer to copy is what they show, and a project starts with it", async () => {
  const shown: string[] = [];
  for (const [path, label] of [
    ["/tables", "a first table"],
    ["/runs", "a first workflow"],
    ["/alerts", "a first alert"],
  ] as const) {
    const page = await c.open(path);
    shown.push((await page.getByRole("region", { name: label, exact: true }).textContent()) ?? "");
    await page.close();
  }
  assert.deepEqual(shown, [FIRST_TABLE, FIRST_WORKFLOW, FIRST_ALERT]);
  const project = join(c.folder, "project");
  await mkdir(project);
  await cp(join(ROOT, "test/console/empty-project/millrace.config.ts"), join(project, "millrace.config.ts"));
  await Promise.all(
    [FIRST_STREAM, ...shown].map((text, i) => writeFile(join(project, `definitions-${i}.ts`), `${text}\n`)),
  );
  const platform = await RunningPlatform.start(relative(ROOT, project), join(c.folder, "next"));
  try {
    const { body } = await platform.get<{ nodes: { id: string }[] }>("/v1/map");
    const ids = body.nodes.map(({ id }) => id);
    for (const id of ["stream:orders", "table:gold.totals", "workflow:nightly", "alert:refused_events"])
      assert.ok(ids.includes(id), `${id} is not among ${ids.join(", ")}`);
    const run = await platform.command("runs", "start", "nightly", "--wait");
    assert.equal(run.code, 0, run.stderr + run.stdout);
  } finally {
    await platform.stop();
  }
});
