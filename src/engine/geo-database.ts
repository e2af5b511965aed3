/**
 * Where an address is, by a file in MaxMind's DB format that the user brings (GeoLite2, GeoIP2, DB-IP and others have its fields).
 * The file is read once, whole: what replaces it on the disk is seen by the next start, so a statement gives the same as long as the
 * platform runs.
 */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { Reader, type Response } from "maxmind";
import { MillraceError } from "../errors.ts";

/** English names; each null where the file does not say. */
export interface Place {
  /** ISO 3166-1 alpha-2. */
  readonly country_code: string | null;
  readonly country: string | null;
  /** The part of ISO 3166-2 behind the country: `ENG`. */
  readonly region_code: string | null;
  readonly region: string | null;
  readonly city: string | null;
  readonly postal_code: string | null;
  /** Two letters: `EU`. */
  readonly continent_code: string | null;
  /** Degrees. */
  readonly latitude: number | null;
  readonly longitude: number | null;
  readonly accuracy_km: number | null;
  /** Of the IANA list: `Europe/London`. */
  readonly time_zone: string | null;
}

export interface GeoDatabase {
  /** Which data it is: type and time of its making. Answers of two files of one name are the same. */
  readonly name: string;
  /**
   * The place of an IPv4 or IPv6 address; null where the text is none, or the file knows nothing of it, as of private ones.
   * @throws an Error that names the file where its record is damaged.
   */
  locate(ip: string): Place | null;
}

/** Distinct addresses that are remembered. */
const MOST_REMEMBERED = 50_000;
/** Decoded parts that records share: countries, regions, names. */
const MOST_PARTS = 10_000;
/** Zeros between the search tree and the data. */
const SEPARATOR_BYTES = 16;

/**
 * Reads a database of cities or countries. Every node of its search tree is looked at, so that a file that was cut or mixed up is
 * known at once; its records are looked at when an address leads to them.
 * @throws GEO_DATABASE_UNUSABLE
 */
export async function openGeoDatabase(path: string): Promise<GeoDatabase> {
  const unusable = (reason: string, cause?: unknown) =>
    new MillraceError("GEO_DATABASE_UNUSABLE", { path, reason }, { cause });
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw unusable(error.code === "ENOENT" ? "there is no such file" : `it cannot be read: ${error.message}`, error);
  });
  if (bytes[0] === 0x1f && bytes[1] === 0x8b)
    throw unusable("it is packed (gzip, .tar.gz), and the .mmdb within is needed");
  let reader: Reader<Response>;
  try {
    reader = new Reader<Response>(bytes, { cache: boundedMap(MOST_PARTS) });
  } catch (error) {
    throw unusable("it is no whole database of MaxMind's format", error);
  }
  const { databaseType, buildEpoch } = reader.metadata;
  if (Number.isNaN(buildEpoch.getTime())) throw unusable("it does not say when it was made");
  const fault = treeFault(bytes, reader.metadata);
  if (fault !== undefined) throw unusable(fault);
  if (!/city|country|enterprise/i.test(String(databaseType)))
    throw unusable(`it is of the type ${JSON.stringify(databaseType)}, which has no places`);
  const remembered = boundedMap<string, Place | null>(MOST_REMEMBERED);
  return {
    name: `${databaseType} ${buildEpoch.toISOString()}`,
    locate(ip) {
      const before = remembered.get(ip);
      if (before !== undefined) return before;
      const place = find(reader, path, ip);
      remembered.set(ip, place);
      return place;
    },
  };
}

/** Emptied when full, rather than kept in order of use: what is frequent is back at once. */
function boundedMap<K, V>(most: number) {
  const map = new Map<K, V>();
  return {
    get: (key: K) => map.get(key),
    set(key: K, value: V) {
      if (map.size >= most) map.clear();
      map.set(key, value);
    },
  };
}

function find(reader: Reader<Response>, path: string, ip: string): Place | null {
  const address = plainAddress(ip);
  // In a tree of IPv4 the bits of another address lead anywhere.
  if (address === undefined || (address.includes(":") && reader.metadata.ipVersion !== 6)) return null;
  try {
    return placeOf(reader.get(address));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`locate_ip: the file ${JSON.stringify(path)} is damaged where it tells of ${ip} (${reason})`);
  }
}

/** The address as the tree has it: an IPv4 address that is written as IPv6 is one of IPv4. Undefined for any other text. */
function plainAddress(ip: string): string | undefined {
  const version = isIP(ip);
  if (version === 4) return ip;
  if (version !== 6 || ip.includes("%")) return undefined;
  const plain = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(plain);
  if (mapped === null) return plain;
  const halves = [mapped[1] as string, mapped[2] as string].map((half) => Number.parseInt(half, 16));
  return halves.flatMap((half) => [half >> 8, half & 255]).join(".");
}

/** Null for a record that tells of no place, such as one with the network's owner alone. */
function placeOf(record: unknown): Place | null {
  if (!isMap(record)) return null;
  const { country, subdivisions, city, postal, continent, location } = record;
  const region = Array.isArray(subdivisions) ? subdivisions[0] : undefined;
  const place: Place = {
    country_code: text(country, "iso_code"),
    country: name(country),
    region_code: text(region, "iso_code"),
    region: name(region),
    city: name(city),
    postal_code: text(postal, "code"),
    continent_code: text(continent, "code"),
    latitude: number(location, "latitude", 90),
    longitude: number(location, "longitude", 180),
    accuracy_km: number(location, "accuracy_radius", 65_535),
    time_zone: text(location, "time_zone"),
  };
  return Object.values(place).every((value) => value === null) ? null : place;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function name(of: unknown): string | null {
  return isMap(of) ? text(of["names"], "en") : null;
}

function text(of: unknown, field: string): string | null {
  const value = isMap(of) ? of[field] : undefined;
  if (value === undefined || typeof value === "string") return value || null;
  throw new TypeError(`its ${field} is no text`);
}

function number(of: unknown, field: string, most: number): number | null {
  const value = isMap(of) ? of[field] : undefined;
  if (value === undefined) return null;
  // Bytes that are no number of theirs come out as one near zero more often than as a large one.
  if (value === 0 || (typeof value === "number" && Math.abs(value) <= most && Math.abs(value) > 1e-9)) return value;
  throw new TypeError(`its ${field} is no number up to ${most}`);
}

/**
 * What is wrong with the search tree. It stands at the beginning: nodes of two records each, a record being a node's number, the number
 * of nodes (nothing is known), or beyond it a place in the data, which begins behind 16 zeros.
 */
function treeFault(bytes: Buffer, metadata: Reader<Response>["metadata"]): string | undefined {
  const { nodeCount, recordSize, nodeByteSize, searchTreeSize, ipVersion } = metadata;
  if (ipVersion !== 4 && ipVersion !== 6) return "it does not say for which version of IP it is";
  const dataBytes =
    bytes.lastIndexOf("\xab\xcd\xefMaxMind.com", undefined, "latin1") - searchTreeSize - SEPARATOR_BYTES;
  if (!(Number.isInteger(nodeCount) && nodeCount > 0 && dataBytes >= 0))
    return "it is shorter than it says: it was cut";
  if (bytes.subarray(searchTreeSize, searchTreeSize + SEPARATOR_BYTES).some((byte) => byte !== 0))
    return "its search tree does not end where it says: parts of it are missing";
  const isFit = (record: number) =>
    record <= nodeCount || (record >= nodeCount + SEPARATOR_BYTES && record < nodeCount + SEPARATOR_BYTES + dataBytes);
  for (let at = 0; at < searchTreeSize; at += nodeByteSize) {
    let left = 0;
    let right = 0;
    if (recordSize === 32) {
      left = bytes.readUInt32BE(at);
      right = bytes.readUInt32BE(at + 4);
    } else {
      const middle = recordSize === 28 ? (bytes[at + 3] as number) : 0;
      left = (middle >> 4) * 2 ** 24 + bytes.readUIntBE(at, 3);
      right = (middle & 15) * 2 ** 24 + bytes.readUIntBE(at + nodeByteSize - 3, 3);
    }
    if (!isFit(left) || !isFit(right)) return `its search tree is damaged (byte ${at})`;
  }
  return undefined;
}
