/** The console where things are not well: it says what, shows what there is, and goes on by itself once it can. */
import assert from "node:assert/strict";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { RunningPlatform } from "../platform/running-platform.ts";
import { type ConsolePage, OpenConsole, violations } from "./open-console.ts";

let c: OpenConsole;
const MARKUP = `<img src=x onerror="document.title='run'"><script>document.title='run'</script>`;

before(async () => {
  c = await OpenConsole.start("test/console/project");
  const { body } = await c.platform.post("orders", [
    ...Array.from({ length: 20 }, (_, i) => order(i)),
    { ...order(20), customer_id: MARKUP },
    { order_id: MARKUP, customer_id: MARKUP, country: MARKUP, amount: MARKUP, placed_at: MARKUP },
  ]);
  assert.deepEqual([body.accepted, body.rejected.length], [21, 1]);
});
after(() => c?.stop());

function order(i: number) {
  const placed_at = new Date(Date.now() - i * 60_000).toISOString();
  return { order_id: `o-${i}`, customer_id: `c-${i % 3}`, country: i % 2 ? "DE" : "FR", amount: 10 + i, placed_at };
}

async function ranNothing(page: ConsolePage): Promise<void> {
  assert.equal(await page.locator("main img, main script").count(), 0);
  assert.ok(!(await page.title()).startsWith("run"), "the title was changed by a script");
  assert.deepEqual(page.complaints, []);
}

test("markup in a result is text: in the grid, in big numbers' names, and in a chart's canvas", async () => {
  const sql = `select '${MARKUP.replaceAll("'", "''")}' as "${MARKUP.replaceAll('"', '""')}", 5 as n, map {'k': '<b>x</b>'} as m from range(2)`;
  const page = await c.open(`/sql?${new URLSearchParams({ sql })}`);
  try {
    await page.locator("[role=gridcell]", { hasText: MARKUP }).first().waitFor();
    await page.getByRole("combobox", { name: "Show as" }).selectOption("bar");
    await page.locator(".chart canvas").waitFor();
    await page.locator(".chart canvas").hover();
    await ranNothing(page);
  } finally {
    await page.close();
  }
});

for (const [where, path, shown] of [
  ["an accepted event", "/tables/bronze.orders/sample", "[role=gridcell]"],
  ["a profile", "/tables/silver.orders/profile", ".mono"],
  ["a live event", "/streams/orders/live", "main"],
  ["a dead letter", "/dead-letters?stream=orders&stage=door&code=EVENT_INVALID", "main"],
] as const) {
  test(`markup in ${where} is text`, async () => {
    const page = await c.open(path);
    try {
      if (where === "a live event") {
        await page.getByText("Waiting for events").waitFor();
        await c.platform.post("orders", [{ ...order(30), customer_id: MARKUP }]);
      }
      if (where === "a dead letter") {
        await page.getByRole("button", { name: "Open" }).first().click();
        await page.getByRole("region", { name: "Payload as it was received" }).waitFor();
      }
      await page
        .locator(shown)
        .filter({ hasText: /onerror/ })
        .first()
        .waitFor();
      await ranNothing(page);
    } finally {
      await page.close();
    }
  });
}

test("a text of a notebook is text, whatever it says", async () => {
  const { notebook } = await c.call<{ notebook: { id: string } }>("POST", "/v1/notebooks", {
    name: MARKUP,
    cells: [{ id: "t", kind: "text", text: `# ${MARKUP}\n\n- ${MARKUP}\n\n\`${MARKUP}\`` }],
  });
  for (const path of [`/sql/${notebook.id}`, `/sql/${notebook.id}/dashboard`]) {
    const page = await c.open(path);
    try {
      await page.getByRole("heading", { name: MARKUP }).last().waitFor();
      await ranNothing(page);
    } finally {
      await page.close();
    }
  }
});

test("a run that failed says where and why, and goes on from there when it is told to", async () => {
  const { run } = await c.call<{ run: { id: string } }>("POST", "/v1/workflows/failing/runs");
  const page = await c.open(`/runs/${run.id}`);
  try {
    const began = async () => {
      const { steps } = await c.call<{ steps: { startedAt: string }[] }>("GET", `/v1/runs/${run.id}`);
      return steps[0]?.startedAt;
    };
    await page.getByRole("alert").getByText("the supplier does not answer").waitFor();
    await page.getByText("failed", { exact: true }).first().waitFor();
    assert.deepEqual(await violations(page), []);
    const first = await began();
    await page.getByRole("button", { name: "Go on at the step that failed" }).click();
    const deadline = Date.now() + 20_000;
    while ((await began()) === first && Date.now() < deadline);
    assert.notEqual(await began(), first, "the step was not begun again");
    await page.getByRole("alert").getByText("the supplier does not answer").waitFor();
    assert.deepEqual(page.complaints, []);
  } finally {
    await page.close();
  }
});

test("a session that was ended elsewhere leads to the sign-in, and from there back to the page", async () => {
  const page = await c.open("/tables/silver.orders");
  try {
    await page.getByText("Definition").waitFor();
    await page.evaluate(`fetch("/v1/session", { method: "DELETE" })`);
    await page.getByRole("link", { name: "SQL" }).click();
    await page.locator("#key").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.fill("#key", "mk_wrong");
    await page.click("button[type=submit]");
    await page.getByText("the key is unknown or was revoked").waitFor();
    await page.fill("#key", c.platform.key);
    await page.click("button[type=submit]");
    await page.getByRole("heading", { name: "SQL" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/sql");
  } finally {
    await page.close();
  }
});

test("a table whose files are gone says so on its page, and the others are as they were", async () => {
  const flushed = async () => {
    const { body } = await c.platform.get<{ hops: { pending: number }[] }>("/v1/ledger");
    return body.hops.every(({ pending }) => pending === 0);
  };
  while (!(await flushed()));
  const { files } = await c.call<{ files: { path: string }[] }>("GET", "/v1/tables/silver.orders");
  assert.ok(files.length > 0);
  const lake = await folderOf(c.dataDir, "silver.orders");
  const kept = new Map<string, Buffer>();
  for (const { path } of files) {
    const file = join(lake, path);
    kept.set(file, await readFile(file));
    await rm(file);
  }
  const page = await c.open("/tables/silver.orders/sample");
  try {
    await page.getByRole("alert").first().waitFor();
    assert.match((await page.getByRole("alert").first().textContent()) ?? "", /DATA_FILE_DAMAGED|ENGINE_IO/);
    assert.deepEqual(await violations(page), []);
    await page.getByRole("link", { name: "History" }).click();
    await page.getByText("flush").first().waitFor();
    for (const [file, content] of kept) await writeFile(file, content);
    await page.getByRole("link", { name: "Rows" }).click();
    await page.locator("[role=gridcell]").first().waitFor();
  } finally {
    await page.close();
  }
});

/** The folder of a table below the data folder. */
async function folderOf(dataDir: string, table: string): Promise<string> {
  const found = (await readdir(dataDir, { recursive: true, withFileTypes: true })).find(
    (entry) =>
      entry.isDirectory() && entry.name === "_delta_log" && entry.parentPath.replaceAll("/", ".").endsWith(table),
  );
  assert.ok(found, `no folder of ${table}`);
  return found.parentPath;
}

test("a platform that goes away is told of on every page, and each goes on by itself when it is back", async () => {
  const port = new URL(c.platform.url).port;
  const notebook = await c.call<{ notebook: { id: string } }>("POST", "/v1/notebooks", {
    ...{ name: "Wall", refreshS: 5 },
    cells: [{ id: "a", kind: "sql", sql: "select now()::varchar as at", view: "grid" }],
  });
  const [tables, wall, runs] = [
    await c.open("/tables"),
    await c.open(`/sql/${notebook.notebook.id}/dashboard`),
    await c.open("/runs"),
  ];
  try {
    await tables.getByText("gold.sales_daily").waitFor();
    await wall.locator("[role=gridcell]").waitFor();
    const before = await wall.locator("[role=gridcell]").textContent();
    await c.platform.stop("SIGKILL");
    for (const page of [tables, wall, runs]) await page.getByText("no answer").first().waitFor();
    // What was there stays in sight, and a page that is opened now says what is wrong.
    assert.equal(await tables.getByText("gold.sales_daily").first().isVisible(), true);
    await tables.getByRole("link", { name: "Alerts", exact: true }).click();
    await tables.getByText("the platform does not answer").first().waitFor();
    assert.deepEqual(await violations(tables), []);
    c.platform = await RunningPlatform.start("test/console/project", c.dataDir, [
      ...["--flush-interval", "200ms"],
      ...["--port", port],
    ]);
    assert.equal(new URL(c.platform.url).port, port);
    for (const page of [tables, wall, runs]) await page.getByText("no answer").first().waitFor({ state: "detached" });
    await tables.getByText("the platform does not answer").first().waitFor({ state: "detached" });
    // What fires by then is another matter.
    await tables.locator("main table, main .empty").first().waitFor();
    await wall
      .locator("[role=gridcell]")
      .filter({ hasNotText: before ?? "" })
      .waitFor();
  } finally {
    for (const page of [tables, wall, runs]) await page.close();
  }
});
