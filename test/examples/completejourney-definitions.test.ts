import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import type { Project, Stream } from "../../src/define/project.ts";
import { EventJudge } from "../../src/gateway/event-judge.ts";
import { load, ProjectTables } from "./project-tables.ts";

const CORPUS = resolve(import.meta.dirname, "../../../shared/data/completejourney");
const HAVE_CORPUS = existsSync(CORPUS);
const FILES: Readonly<Record<string, string>> = {
  transactions: "transactions_sample",
  products: "products",
  demographics: "demographics",
  campaign_descriptions: "campaign_descriptions",
  campaigns: "campaigns",
  coupons: "coupons",
  coupon_redemptions: "coupon_redemptions",
  promotions: "promotions_sample",
};

let project: Project;
let tables: ProjectTables;

before(async () => {
  project = await load(resolve(import.meta.dirname, "../../examples/completejourney"));
  const files = Object.fromEntries(
    Object.entries(FILES).map(([stream, name]) => [stream, `${CORPUS}/${name}.csv.zst`]),
  );
  tables = await ProjectTables.compute(project, HAVE_CORPUS ? files : {});
});

after(() => tables?.close());

test("every file of the corpus has a stream, and every stream a silver table", () => {
  assert.deepEqual([...project.streams.keys()].sort(), Object.keys(FILES).sort());
  for (const stream of project.streams.keys()) assert.ok(project.tables.has(`silver.${stream}`), stream);
});

test("the eight files join to the exact facts", async (t) => {
  if (!HAVE_CORPUS) return t.diagnostic(`the Complete Journey corpus is not there (${CORPUS})`);
  assert.deepEqual(
    await tables.row(`
      select (select count(*) from silver.transactions), (select count(*) from silver.products), (select count(*) from silver.demographics),
        (select count(*) from silver.campaigns), (select count(*) from silver.campaign_descriptions),
        (select count(*) from silver.coupons), (select count(*) from silver.coupon_redemptions), (select count(*) from silver.promotions)`),
    ["75000", "92331", "801", "6589", "27", "111332", "2102", "360535"],
  );
  assert.deepEqual(Object.fromEntries([...tables.duplicates].filter(([, rows]) => rows > 0)), { coupons: 4_872 });
  assert.deepEqual(
    [...tables.failed].filter(([, rows]) => rows > 0),
    [],
  );
  const lines = ["75000", "233935.24"];
  assert.deepEqual(await tables.row("select sum(lines), sum(sales) from gold.departments_daily"), lines);
  assert.deepEqual(await tables.row("select sum(lines), sum(sales) from gold.segments"), lines);
  assert.deepEqual(await tables.row("select sum(lines) from gold.promotion_effect"), ["74778"]);
  assert.deepEqual(await tables.row("select count(*), sum(households), sum(redemptions) from gold.campaign_results"), [
    "27",
    "6589",
    "2102",
  ]);
});

test("the contracts take the files' rows", async (t) => {
  if (!HAVE_CORPUS) return t.diagnostic(`the Complete Journey corpus is not there (${CORPUS})`);
  for (const stream of project.streams.values()) {
    const judge = new EventJudge(stream as Stream, { maxEventBytes: 1 << 20, maxNesting: 64 });
    const events = await tables.events(stream.name);
    // Every row of the small files and every tenth of the large ones: the rows of one file are much alike.
    const step = events.length > 20_000 ? 10 : 1;
    for (let i = 0; i < events.length; i += step) {
      const bytes = Buffer.from(events[i] as string);
      const refused = judge.judge(bytes, 0, bytes.length);
      assert.equal(refused, undefined, `${stream.name}: ${refused?.message}: ${events[i]}`);
    }
  }
});
