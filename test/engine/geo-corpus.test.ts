/** MaxMind's own test databases, whose sources say the right answers, and the broken files that readers of the format test themselves with. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { zstdDecompressSync } from "node:zlib";
import { openGeoDatabase, type Place } from "../../src/engine/geo-database.ts";
import { MillraceError } from "../../src/errors.ts";
import { sharedData } from "../gateway/shared-data.ts";

const corpus = sharedData("maxmind");
if (corpus !== undefined) {
  const archive = untar(zstdDecompressSync(await readFile(join(corpus, "source-and-bad.tar.zst"))));
  const database = (name: string) => join(corpus, "test-data", `${name}.mmdb`);

  for (const name of [
    ...["GeoIP2-City-Test", "GeoIP2-Country-Test", "GeoIP2-Enterprise-Test", "GeoIP2-Precision-Enterprise-Test"],
    ...["GeoLite2-City-Test", "GeoLite2-Country-Test"],
  ]) {
    test(`${name}: the first and last address of every network, and those beside it, are where its source says`, async () => {
      const source = JSON.parse(archive.get(`source-data/${name}.json`)?.toString() ?? "") as Record<string, unknown>[];
      const networks = source
        .flatMap((entry) => Object.entries(entry))
        .map(([text, record]) => ({ ...read(text), record }));
      assert.ok(networks.length > 30, `${networks.length} networks`);
      const geo = await openGeoDatabase(database(name));
      const wanted = (address: bigint): Place | null => {
        const around = networks.filter(({ first, last }) => first <= address && address <= last);
        const nearest = around.sort((a, b) => (a.last - a.first < b.last - b.first ? -1 : 1))[0];
        return nearest === undefined ? null : expected(nearest.record);
      };
      let placed = 0;
      for (const { first, last } of networks) {
        for (const address of [first - 1n, first, last, last + 1n]) {
          if (address < 0n || isAlias(address)) continue;
          const place = wanted(address);
          placed += place === null ? 0 : 1;
          assert.deepEqual(geo.locate(written(address)), place, written(address));
          if (address < 2n ** 32n) {
            assert.deepEqual(geo.locate(`::ffff:${written(address)}`), place);
            assert.deepEqual(geo.locate(hex((0xffffn << 32n) | address)), place);
          }
        }
      }
      assert.ok(placed > 30, `${placed} addresses have a place`);
    });
  }

  test("broken files are refused, or say that they are damaged; none gives a place or hangs", async () => {
    const dir = await mkdtemp(join(tmpdir(), "millrace-geo-bad-"));
    try {
      const bad = [...archive].filter(([name]) => name.endsWith(".mmdb"));
      assert.equal(bad.length, 21);
      const files = bad.map(([, bytes]) => bytes);
      for (const name of ["GeoIP2-City-Test-Invalid-Node-Count", "MaxMind-DB-test-broken-search-tree-24"])
        files.push(await readFile(database(name)));
      for (const bytes of files) {
        const path = join(dir, "bad.mmdb");
        await writeFile(path, bytes);
        await assert.rejects(openGeoDatabase(path), { code: "GEO_DATABASE_UNUSABLE" });
        // As they are, most are of no type that has places. With such a type only the fault itself is left to be seen.
        await writeFile(path, retyped(bytes));
        const geo = await openGeoDatabase(path).catch((error: unknown) => {
          assert.ok(error instanceof MillraceError && error.code === "GEO_DATABASE_UNUSABLE", String(error));
        });
        for (let i = 0; geo !== undefined && i < 256; i++) {
          try {
            assert.equal(geo.locate(`${i}.1.1.1`), null);
          } catch (error) {
            assert.match(String(error), /locate_ip: the file ".*bad\.mmdb" is damaged/);
          }
        }
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  test("coordinates that are no doubles are told, not given", async () => {
    const geo = await openGeoDatabase(database("GeoIP2-City-Test-Broken-Double-Format"));
    assert.throws(() => geo.locate("2.125.160.217"), /is damaged where it tells of 2\.125\.160\.217/);
  });

  test("a file cut anywhere is refused", async () => {
    const dir = await mkdtemp(join(tmpdir(), "millrace-geo-cut-"));
    try {
      const whole = await readFile(database("GeoLite2-City-Test"));
      for (let length = 0; length < whole.length - 400; length += 991) {
        await writeFile(join(dir, "cut.mmdb"), whole.subarray(0, length));
        await assert.rejects(openGeoDatabase(join(dir, "cut.mmdb")), { code: "GEO_DATABASE_UNUSABLE" }, `${length}`);
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
}

/** The answer by the source's record, written down independently of how it is computed. */
function expected(record: unknown): Place | null {
  // biome-ignore lint/suspicious/noExplicitAny: the sources' records are of many shapes
  const r = record as any;
  const place = {
    country_code: r.country?.iso_code ?? null,
    country: r.country?.names?.en ?? null,
    region_code: r.subdivisions?.[0]?.iso_code ?? null,
    region: r.subdivisions?.[0]?.names?.en ?? null,
    city: r.city?.names?.en ?? null,
    postal_code: r.postal?.code ?? null,
    continent_code: r.continent?.code ?? null,
    latitude: r.location?.latitude ?? null,
    longitude: r.location?.longitude ?? null,
    accuracy_km: r.location?.accuracy_radius ?? null,
    time_zone: r.location?.time_zone ?? null,
  };
  return JSON.stringify(place).replaceAll(/"\w+":null|[{},]/g, "") === "" ? null : place;
}

/** `::214.0.0.0/120`, `2001:218::/32` or `2.125.160.216/29` as numbers; IPv4 stands at the beginning of IPv6. */
function read(network: string): { first: bigint; last: bigint } {
  const [text = "", length = ""] = network.split("/");
  const address = numberOf(text);
  const free = BigInt((isIPv4(text) ? 32 : 128) - Number(length));
  return { first: (address >> free) << free, last: ((address >> free) << free) | ((1n << free) - 1n) };
}

function numberOf(text: string): bigint {
  const v4 = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (v4 !== null && (text === v4[0] || text === `::${v4[0]}`))
    return v4.slice(1).reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [left = [], right = []] = text.split("::").map((half) => half.split(":").filter((part) => part !== ""));
  const parts = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right];
  return parts.reduce((sum, part) => sum * 65_536n + BigInt(`0x${part}`), 0n);
}

function written(address: bigint): string {
  if (address >= 2n ** 32n) return hex(address);
  return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join(".");
}

function hex(address: bigint): string {
  return address.toString(16).padStart(32, "0").match(/.{4}/g)?.join(":") ?? "";
}

/** Networks by which IPv4 addresses are written as IPv6 (mapped, Teredo, 6to4): the files answer for the IPv4 address. */
function isAlias(address: bigint): boolean {
  return address >> 32n === 0xffffn || address >> 96n === 0x20010000n || address >> 112n === 0x2002n;
}

/** The same with the type "city": as long as the type it replaces is written out. */
function retyped(bytes: Buffer): Buffer {
  const at = bytes.lastIndexOf("database_type") + "database_type".length;
  return Buffer.concat([
    bytes.subarray(0, at),
    Buffer.from("\x44city"),
    bytes.subarray(at + 1 + ((bytes[at] ?? 0) & 31)),
  ]);
}

/** The files of a tar archive, by their names: headers of 512 bytes with name and size in octal, then the file, filled up to 512. */
function untar(bytes: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const header = (from: number, to: number) => bytes.toString("latin1", at + from, at + to).split("\0")[0] ?? "";
    const size = Number.parseInt(header(124, 136), 8);
    files.set(header(0, 100), bytes.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
