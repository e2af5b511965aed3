import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import type { Field } from "../../src/cli/import-fields.ts";
import { digest, findFiles } from "../../src/cli/import-files.ts";
import { openRows, type Reading } from "../../src/cli/import-reader.ts";

const FIELDS: Field[] = [
  { name: "order_id", kind: "text", required: true },
  { name: "amount", kind: "number", required: false },
  { name: "placed_at", kind: "timestamp", required: false },
];
const READING: Reading = { map: {}, nulls: [""], delimiter: undefined, encoding: undefined };

describe("reading files for import", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "millrace-import-"));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  async function read(
    name: string,
    content: string | Uint8Array,
    reading: Partial<Reading> = {},
    skip = 0,
    fields = FIELDS,
  ) {
    await writeFile(join(dir, name), content);
    const { files } = await findFiles([name], dir);
    const source = await openRows(files[0]!, { ...READING, ...reading }, fields, "orders");
    try {
      const rows: string[] = [];
      for await (const chunk of source.rows(skip)) rows.push(...chunk);
      return { rows, unused: source.unused, rowCount: source.rowCount };
    } finally {
      await source.close();
    }
  }

  test("CSV cells become what their field is, empty ones are left out, strange columns are named", async () => {
    const csv = 'OrderId,Amount,Placed At,Note\n007,2.50,2024-05-01 10:00:00,x\n"a,""b""\nc",,,\n';
    const { rows, unused, rowCount } = await read("plain.csv", csv);
    assert.deepEqual(rows, [
      '{"order_id":"007","amount":2.50,"placed_at":"2024-05-01T10:00:00Z"}',
      '{"order_id":"a,\\"b\\"\\nc"}',
    ]);
    assert.deepEqual([unused, rowCount], [["Note"], 2]);
  });

  test("the delimiter is found out, or said; other texts can stand for no value; a short row has fewer values", async () => {
    const rows = ['{"order_id":"1","amount":5}', '{"order_id":"2"}'];
    assert.deepEqual(
      (await read("semicolon.csv", "order_id;amount\n1;5\n2;NULL\n", { nulls: ["", "NULL"] })).rows,
      rows,
    );
    assert.deepEqual((await read("tabs.tsv", "order_id\tamount\n1\t5\n2\n")).rows, rows);
    assert.deepEqual((await read("said.csv", "order_id^amount\n1^5\n2^\n", { delimiter: "^" })).rows, rows);
  });

  test("compressed files read as the plain one does", async () => {
    const csv = "order_id,amount\n1,5\n2,6\n";
    const plain = await read("a.csv", csv);
    for (const [ending, compress] of [
      ["gz", gzipSync],
      ["zst", zstdCompressSync],
      ["br", brotliCompressSync],
    ] as const) {
      assert.deepEqual(await read(`a.csv.${ending}`, compress(csv)), plain, ending);
      const ndjson = await read(`a.ndjson.${ending}`, compress('{"order_id":"1"}\n{"order_id":"2"}\n'));
      assert.deepEqual(ndjson.rows, ['{"order_id":"1"}', '{"order_id":"2"}'], ending);
    }
  });

  test("a latin-1 file is read when it is said to be one, and refused by its line otherwise", async () => {
    const latin1 = Buffer.from("order_id,amount\nCafé,1\n", "latin1");
    assert.deepEqual((await read("latin.csv", latin1, { encoding: "latin-1" })).rows, [
      '{"order_id":"Café","amount":1}',
    ]);
    await assert.rejects(read("latin.csv", latin1), {
      code: "IMPORT_FILE_BROKEN",
      message: /latin\.csv cannot be read/,
    });
  });

  test("Parquet keeps every value of its types", async () => {
    const path = join(dir, "typed.parquet");
    const instance = await DuckDBInstance.create(":memory:");
    const connection = await instance.connect();
    await connection.run(
      `copy (select '1' as order_id, 12.340::decimal(18,3) as amount, timestamp '2024-05-01 10:00:00.000001' as placed_at,
               {'a': [1, 2]} as nested, 9007199254740993::bigint as big, null::varchar as nothing, 'x'::blob as raw)
       to '${path}' (format parquet)`,
    );
    connection.closeSync();
    instance.closeSync();
    const fields: Field[] = [
      ...FIELDS,
      { name: "nested", kind: "json", required: false },
      { name: "big", kind: "integer", required: false },
      { name: "nothing", kind: "text", required: false },
      { name: "raw", kind: "text", required: false },
    ];
    const { files } = await findFiles([path], dir);
    const source = await openRows(files[0]!, READING, fields, "orders");
    const rows: string[] = [];
    for await (const chunk of source.rows(0)) rows.push(...chunk);
    await source.close();
    assert.deepEqual(rows, [
      '{"order_id":"1","amount":12.340,"placed_at":"2024-05-01T10:00:00.000001Z","nested":{"a":[1,2]},"big":9007199254740993,"raw":"eA=="}',
    ]);
  });

  test("NDJSON is sent letter for letter where nothing must change, malformed lines too", async () => {
    const lines = [
      '{"order_id" : "1", "amount":1.10, "extra":{"n":12345678901234567890}}',
      "{broken",
      '{"order_id":"\\ud800"}',
      "[1]",
    ];
    assert.deepEqual((await read("as-is.ndjson", `${lines.join("\r\n")}\n\n`)).rows, lines);
  });

  test("field names in another spelling and timestamps of another form are put right, digits untouched", async () => {
    const { rows } = await read(
      "spelled.ndjson",
      '{"OrderId":"1","Amount":1.10,"placedAt":"2024-05-01 10:00:00","z":[2.00]}\n',
    );
    assert.deepEqual(rows, ['{"order_id":"1","amount":1.10,"placed_at":"2024-05-01T10:00:00Z","z":[2.00]}']);
    const mapped = await read("mapped.ndjson", '{"id":"1"}\n', { map: { order_id: "id" } });
    assert.deepEqual(mapped.rows, ['{"order_id":"1"}']);
  });

  test("JSON is an array, one object, or objects one after the other, laid out as it may be", async () => {
    const objects = ['{"order_id":"1"}', '{"order_id":"{]\\"","amount":2}'];
    const pretty = '[\n  {"order_id": "1"},\n  {"order_id": "{]\\"",\n "amount": 2}\n]\n';
    assert.deepEqual((await read("array.json", JSON.stringify(objects.map((text) => JSON.parse(text))))).rows, objects);
    assert.deepEqual((await read("pretty.json", pretty)).rows, ['{"order_id": "1"}', objects[1]]);
    assert.deepEqual((await read("lines.json", objects.join("\n"))).rows, objects);
    assert.deepEqual((await read("one.json", objects[0]!)).rows, [objects[0]]);
    assert.deepEqual((await read("apart.json", '{"order_id":\n"1"}\n{"order_id":\n"2"}')).rows, [
      '{"order_id":"1"}',
      '{"order_id":"2"}',
    ]);
    assert.deepEqual((await read("empty.json", "[]")).rows, []);
  });

  test("a JSON file that is broken off or holds something else says where", async () => {
    await assert.rejects(read("cut.json", '[{"order_id":"1"},{"order_id"'), {
      code: "IMPORT_FILE_BROKEN",
      message: /after row 1: the file ends within an object/,
    });
    await assert.rejects(read("numbers.json", "[1, 2]"), { message: /where an object should begin/ });
    await assert.rejects(read("bad.ndjson", Buffer.from([0x7b, 0xff, 0x7d, 0x0a])), { message: /not UTF-8/ });
  });

  test("a large array is read piece by piece, and any number of rows can be skipped", async () => {
    const rows = Array.from({ length: 30_000 }, (_, i) => `{"order_id":"${i}","text":"${"x".repeat(100)}"}`);
    const all = await read("large.json", `[${rows.join(",\n")}]`);
    assert.deepEqual(all.rows, rows);
    assert.deepEqual((await read("large.json", `[${rows.join(",")}]`, {}, 29_990)).rows, rows.slice(29_990));
    const csv = `order_id\n${rows.map((_, i) => i).join("\n")}\n`;
    assert.deepEqual((await read("large.csv", csv, {}, 29_998)).rows, ['{"order_id":"29998"}', '{"order_id":"29999"}']);
  });

  test("a CSV row with too many cells is refused by its line, not dropped", async () => {
    await assert.rejects(read("wide.csv", "order_id,amount\n1,2\n1,2,3,4\n"), { code: "IMPORT_FILE_BROKEN" });
  });

  test("a folder gives its files of known endings by name, and names the others", async () => {
    await mkdir(join(dir, "folder/deep"), { recursive: true });
    for (const name of ["b.csv", "a.ndjson", "deep/c.csv.gz", "SOURCE.txt"])
      await writeFile(join(dir, "folder", name), "x");
    const { files, others } = await findFiles(["folder"], dir);
    assert.deepEqual(
      files.map(({ shown }) => shown),
      ["folder/a.ndjson", "folder/b.csv", "folder/deep/c.csv.gz"],
    );
    assert.deepEqual(others, ["folder/SOURCE.txt"]);
  });

  test("what is not there, or has an unknown ending, is refused; a format that is said goes before the ending", async () => {
    await writeFile(join(dir, "rows.dat"), "order_id\n1\n");
    await assert.rejects(findFiles(["rows.csvv"], dir), { code: "IMPORT_FILE_UNKNOWN", message: /no such file/ });
    await assert.rejects(findFiles(["rows.dat"], dir), { code: "IMPORT_FILE_UNKNOWN", message: /ending says nothing/ });
    assert.equal((await findFiles(["rows.dat"], dir, "csv")).files[0]!.format, "csv");
  });

  test("the digest is the content's and the reading's, not the name's", async () => {
    for (const name of ["x.csv", "y.csv"]) await writeFile(join(dir, name), "order_id\n1\n");
    await writeFile(join(dir, "z.csv"), "order_id\n2\n");
    const { files } = await findFiles(["x.csv", "y.csv", "z.csv"], dir);
    const [x, y, z] = await Promise.all(files.map((file) => digest(file, READING)));
    assert.match(x!, /^[0-9a-f]{16}$/);
    assert.equal(x, y);
    assert.notEqual(x, z);
    assert.notEqual(x, await digest(files[0]!, { ...READING, map: { order_id: "id" } }));
  });
});
