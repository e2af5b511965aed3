import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openDuckdbEngine } from "../../src/engine/duckdb-engine.ts";
import { openDuckdbInspector } from "../../src/engine/duckdb-inspector.ts";
import { openGeoDatabase } from "../../src/engine/geo-database.ts";
import { smallMmdb } from "./small-mmdb.ts";

let dir: string;
let files = 0;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-geo-"));
});
after(() => rm(dir, { recursive: true, force: true }));

async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(dir, `${files++}.mmdb`);
  await writeFile(path, bytes);
  return path;
}

const BOXFORD = {
  city: { names: { en: "Boxford" } },
  continent: { code: "EU" },
  country: { iso_code: "GB", names: { en: "United Kingdom", de: "Vereinigtes Königreich" } },
  location: { accuracy_radius: 100, latitude: 51.75, longitude: -1.25, time_zone: "Europe/London" },
  postal: { code: "OX1" },
  subdivisions: [
    { iso_code: "ENG", names: { en: "England" } },
    { iso_code: "WBK", names: { en: "West Berkshire" } },
  ],
};
const IN_BOXFORD = {
  country_code: "GB",
  country: "United Kingdom",
  region_code: "ENG",
  region: "England",
  city: "Boxford",
  postal_code: "OX1",
  continent_code: "EU",
  latitude: 51.75,
  longitude: -1.25,
  accuracy_km: 100,
  time_zone: "Europe/London",
};
const JAPAN = { country: { iso_code: "JP", names: { en: "Japan" } } };
const NETWORKS = { "2.125.160.216/29": BOXFORD, "2001:218::/32": JAPAN, "5.0.0.0/8": { traits: { isp: "a network" } } };

describe("an address", () => {
  for (const recordSize of [24, 28, 32] as const) {
    test(`is found as IPv4, IPv6 and IPv4 written as IPv6, with records of ${recordSize} bits`, async () => {
      const geo = await openGeoDatabase(await fileOf(smallMmdb({ recordSize, networks: NETWORKS })));
      for (const ip of [
        "2.125.160.216",
        "2.125.160.223",
        "::ffff:2.125.160.217",
        "::ffff:27d:a0d9",
        "0:0:0:0:0:FFFF:027D:A0D9",
      ])
        assert.deepEqual(geo.locate(ip), IN_BOXFORD, ip);
      for (const ip of ["2001:218::1", "2001:0218:ffff:ffff:ffff:ffff:ffff:ffff"])
        assert.equal(geo.locate(ip)?.country, "Japan", ip);
      assert.equal(geo.locate("2001:218::1")?.city, null);
    });
  }

  test("that is unknown, private, malformed or of no place is null, the second time as well", async () => {
    const geo = await openGeoDatabase(await fileOf(smallMmdb({ networks: NETWORKS })));
    const nowhere = [
      "2.125.160.215",
      "2.125.160.224",
      "2001:219::1",
      "10.0.0.1",
      "192.168.1.1",
      "127.0.0.1",
      "::1",
      "fe80::1",
    ];
    const none = [
      "",
      "x",
      "2.125.160",
      "2.125.160.217 ",
      "2.125.160.217:80",
      "256.1.1.1",
      "02.125.160.217",
      "2001:218::1%eth0",
      "[2001:218::1]",
    ];
    for (const ip of [...nowhere, ...none, "5.1.2.3", ...none]) assert.equal(geo.locate(ip), null, ip);
  });

  test("of IPv6 is null where the file knows IPv4 alone", async () => {
    const networks = { "2.125.160.216/29": BOXFORD };
    const geo = await openGeoDatabase(await fileOf(smallMmdb({ ipVersion: 4, networks })));
    assert.equal(geo.locate("2.125.160.217")?.city, "Boxford");
    assert.equal(geo.locate("::ffff:2.125.160.217")?.city, "Boxford");
    assert.equal(geo.locate("27d:a0d9::1"), null, "its first bits are those of the IPv4 address");
  });

  test("is answered rightly when more are asked for than are remembered", async () => {
    const networks = { "10.0.0.0/8": JAPAN, "2.125.160.216/29": BOXFORD };
    const geo = await openGeoDatabase(await fileOf(smallMmdb({ networks })));
    for (let i = 0; i < 120_000; i++) {
      const country = geo.locate(`${i % 2 === 0 ? 10 : 11}.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`)?.country;
      if (country !== (i % 2 === 0 ? "Japan" : undefined)) assert.fail(`${i}: ${country}`);
    }
    assert.equal(geo.locate("2.125.160.217")?.city, "Boxford");
  });
});

describe("a file", () => {
  const refused = (path: string, reason: RegExp) =>
    assert.rejects(openGeoDatabase(path), (error: { code?: string; message: string }) => {
      assert.equal(error.code, "GEO_DATABASE_UNUSABLE");
      assert.ok(error.message.includes(path), error.message);
      assert.match(error.message, reason);
      return true;
    });

  test("that is not there, is a folder, is packed or is something else is refused with the reason", async () => {
    await refused(join(dir, "missing.mmdb"), /there is no such file/);
    await refused(dir, /it cannot be read/);
    await refused(await fileOf(Buffer.from([0x1f, 0x8b, 8, 0])), /it is packed/);
    await refused(await fileOf(Buffer.alloc(0)), /no whole database/);
    await refused(await fileOf(Buffer.from("ip,country\n1.2.3.4,GB\n".repeat(1000))), /no whole database/);
    await refused(
      await fileOf(smallMmdb({ type: "GeoLite2-ASN", networks: NETWORKS })),
      /"GeoLite2-ASN", which has no places/,
    );
  });

  test("that is cut anywhere, or lacks a part, is refused", async () => {
    const whole = smallMmdb({ networks: NETWORKS });
    const end = whole.lastIndexOf("\xab\xcd\xef", undefined, "latin1");
    const metadata = whole.length - end;
    // The last value of the metadata is its description; cut within that it still says all that is needed.
    for (let length = 0; length < end + metadata - 40; length += 13)
      await refused(await fileOf(whole.subarray(0, length)), /./);
    for (let at = 0; at + 100 < end; at += 37)
      await refused(
        await fileOf(Buffer.concat([whole.subarray(0, at), whole.subarray(at + 100)])),
        /cut|missing|damaged/,
      );
  });

  test("whose tree leads outside is refused", async () => {
    const whole = smallMmdb({ networks: NETWORKS });
    whole.fill(0xff, 30, 33);
    await refused(await fileOf(whole), /its search tree is damaged \(byte 30\)/);
  });

  test("whose record is damaged says so where that record is asked for, and only there", async () => {
    const whole = smallMmdb({ networks: NETWORKS });
    whole.fill(0xff, whole.indexOf("latitude") + 8, whole.indexOf("latitude") + 12);
    const path = await fileOf(whole);
    const geo = await openGeoDatabase(path);
    const told = (error: Error) => error.message.startsWith("locate_ip: the file ") && error.message.includes(path);
    assert.throws(() => geo.locate("2.125.160.217"), told);
    assert.equal(geo.locate("2001:218::1")?.country, "Japan");
    const odd = { location: { latitude: 510, longitude: 0 } };
    const other = await openGeoDatabase(await fileOf(smallMmdb({ networks: { "1.0.0.0/8": odd } })));
    assert.throws(() => other.locate("1.2.3.4"), /its latitude is no number up to 90/);
  });

  test("that is replaced changes nothing until it is opened again, and goes by another name then", async () => {
    const path = await fileOf(smallMmdb({ networks: { "1.0.0.0/8": BOXFORD } }));
    const geo = await openGeoDatabase(path);
    await writeFile(
      path,
      smallMmdb({ networks: { "1.0.0.0/8": JAPAN }, builtAtMs: Date.parse("2026-02-01T00:00:00Z") }),
    );
    assert.equal(geo.locate("1.2.3.4")?.city, "Boxford");
    const again = await openGeoDatabase(path);
    assert.equal(again.locate("1.2.3.4")?.country, "Japan");
    assert.deepEqual(
      [geo.name, again.name],
      ["Small-City 2026-01-01T00:00:00.000Z", "Small-City 2026-02-01T00:00:00.000Z"],
    );
  });
});

describe("in SQL", () => {
  const open = async (path?: string) =>
    openDuckdbEngine({
      ...{ memoryBytes: 256 * 2 ** 20, threads: 2, tempDir: dir, allowedDirs: [] },
      geo: path === undefined ? undefined : await openGeoDatabase(path),
    });
  const rowsOf = async (engine: Awaited<ReturnType<typeof open>>, sql: string) => {
    const rows: unknown[][] = [];
    for await (const batch of (await engine.query({ sql, inputs: new Map() })).batches) rows.push(...batch);
    return rows;
  };

  test("it is a struct with null for null", async () => {
    const engine = await open(await fileOf(smallMmdb({ networks: NETWORKS })));
    try {
      const sql = `select locate_ip(ip).city, locate_ip(ip).latitude, locate_ip(ip) is null
        from (values ('2.125.160.217'), ('2001:218::1'), ('10.0.0.1'), (null)) t(ip)`;
      assert.deepEqual(await rowsOf(engine, sql), [
        ["Boxford", 51.75, false],
        [null, null, false],
        [null, null, true],
        [null, null, true],
      ]);
      assert.deepEqual(await rowsOf(engine, "select locate_ip('2.125.160.217')"), [[IN_BOXFORD]]);
      assert.equal(engine.inspector.geoDatabase, "Small-City 2026-01-01T00:00:00.000Z");
      await engine.inspector.declare("visits", [{ name: "ip", type: { kind: "string" }, nullable: true }]);
      const described = await engine.inspector.describe(
        "select locate_ip(ip).city, locate_ip(ip).latitude from visits",
      );
      assert.deepEqual(
        described.map(({ type }) => type.kind),
        ["string", "double"],
      );
    } finally {
      await engine.close();
    }
  });

  test("without a file a statement that uses it is refused with what to do", async () => {
    const engine = await open();
    const inspector = await openDuckdbInspector();
    try {
      const wanted = { code: "GEO_DATABASE_NOT_SET", hint: /geoDatabase: "GeoLite2-City\.mmdb"/ };
      await assert.rejects(rowsOf(engine, "select locate_ip('1.1.1.1')"), wanted);
      await assert.rejects(inspector.describe("select Locate_IP('1.1.1.1')"), wanted);
    } finally {
      inspector.close();
      await engine.close();
    }
  });

  test("a damaged record fails the statement and names the file", async () => {
    const odd = { location: { latitude: 510 } };
    const engine = await open(await fileOf(smallMmdb({ networks: { "1.0.0.0/8": odd, "2.0.0.0/8": JAPAN } })));
    try {
      await assert.rejects(rowsOf(engine, "select locate_ip(ip) from (values ('1.1.1.1')) t(ip)"), {
        code: "SQL_FAILED",
        message: /locate_ip: the file ".*\.mmdb" is damaged where it tells of 1\.1\.1\.1/,
      });
      assert.deepEqual(await rowsOf(engine, "select locate_ip('2.1.1.1').country"), [["Japan"]]);
    } finally {
      await engine.close();
    }
  });
});
