/**
 * Writes a database in MaxMind's format, version 2.0: https://maxmind.github.io/MaxMind-DB/ . As small as tests need it: values are
 * text, numbers (all as doubles, but for those of the metadata), lists and maps; no pointers.
 */
import { isIPv4 } from "node:net";

export interface SmallMmdb {
  readonly type?: string;
  readonly ipVersion?: 4 | 6;
  readonly recordSize?: 24 | 28 | 32;
  readonly builtAtMs?: number;
  /** Network (`2.125.160.0/24`, `2001:db8::/32`) -> its record. None contains another. */
  readonly networks: Readonly<Record<string, unknown>>;
}

export function smallMmdb({
  type = "Small-City",
  ipVersion = 6,
  recordSize = 24,
  builtAtMs = Date.parse("2026-01-01T00:00:00Z"),
  networks,
}: SmallMmdb): Buffer {
  type Node = [Branch, Branch];
  type Branch = Node | { readonly at: number } | undefined;
  const root: Node = [undefined, undefined];
  const data: Buffer[] = [];
  let dataBytes = 0;
  for (const [network, record] of Object.entries(networks)) {
    const [address = "", length = ""] = network.split("/");
    const v4 = isIPv4(address);
    const bits = (v4 && ipVersion === 6 ? "0".repeat(96) : "") + bitsOf(address);
    const depth = Number(length) + (v4 && ipVersion === 6 ? 96 : 0);
    let node = root;
    for (let i = 0; i < depth - 1; i++) {
      const below = (node[Number(bits[i])] ?? [undefined, undefined]) as Node;
      node[Number(bits[i])] = below;
      node = below;
    }
    node[Number(bits[depth - 1])] = { at: dataBytes };
    const encoded = encode(record);
    data.push(encoded);
    dataBytes += encoded.length;
  }
  const nodes: Node[] = [root];
  const numbers = new Map<Node, number>([[root, 0]]);
  for (const node of nodes) {
    for (const branch of node) {
      if (!Array.isArray(branch)) continue;
      numbers.set(branch, nodes.length);
      nodes.push(branch);
    }
  }
  const recordOf = (branch: Branch): number => {
    if (branch === undefined) return nodes.length;
    return Array.isArray(branch) ? (numbers.get(branch) as number) : nodes.length + 16 + branch.at;
  };
  const tree = nodes.map(([left, right]) => {
    const [a, b] = [recordOf(left), recordOf(right)];
    const digits = recordSize / 4;
    const [x, y] = [a.toString(16).padStart(digits, "0"), b.toString(16).padStart(digits, "0")];
    // Of 28 bits the highest four of both share the byte in the middle.
    return Buffer.from(recordSize === 28 ? x.slice(1) + x[0] + y[0] + y.slice(1) : x + y, "hex");
  });
  const metadata = encode(
    {
      node_count: nodes.length,
      record_size: recordSize,
      ip_version: ipVersion,
      database_type: type,
      languages: ["en"],
      binary_format_major_version: 2,
      binary_format_minor_version: 0,
      build_epoch: Math.floor(builtAtMs / 1000),
      description: { en: "made by a test" },
    },
    true,
  );
  return Buffer.concat([
    ...tree,
    Buffer.alloc(16),
    ...data,
    Buffer.from("\xab\xcd\xefMaxMind.com", "latin1"),
    metadata,
  ]);
}

function bitsOf(address: string): string {
  const bits = (number: number, width: number) => number.toString(2).padStart(width, "0");
  if (isIPv4(address))
    return address
      .split(".")
      .map((part) => bits(Number(part), 8))
      .join("");
  const [left = "", right = ""] = address.split("::");
  const parts = (text: string) => (text === "" ? [] : text.split(":"));
  const gap = 8 - parts(left).length - parts(right).length;
  const all = [...parts(left), ...(address.includes("::") ? Array(gap).fill("0") : []), ...parts(right)];
  return all.map((part) => bits(Number.parseInt(part, 16), 16)).join("");
}

/** A control byte with type and size, the type's further byte where it is above 7, and the value. */
function encode(value: unknown, integers = false): Buffer {
  if (typeof value === "string") return Buffer.concat([control(2, Buffer.byteLength(value)), Buffer.from(value)]);
  if (typeof value === "number" && integers) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([control(6, 4), bytes]);
  }
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return Buffer.concat([control(3, 8), bytes]);
  }
  if (Array.isArray(value))
    return Buffer.concat([control(11, value.length), ...value.map((item) => encode(item, integers))]);
  const entries = Object.entries(value as Record<string, unknown>);
  return Buffer.concat([
    control(7, entries.length),
    ...entries.flatMap(([key, item]) => [encode(key), encode(item, integers)]),
  ]);
}

function control(type: number, size: number): Buffer {
  const [small, more] = size < 29 ? [size, []] : [29, [size - 29]];
  return Buffer.from(type <= 7 ? [(type << 5) | small, ...more] : [small, type - 7, ...more]);
}
