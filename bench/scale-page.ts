/**
 * The plans of `docs/scale.md`: what to run for a rate of events, computed from the kept results and from what the makers of the engines
 * publish. `npm run bench` writes the table into the page; a test holds the page to it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { type Results, readResults } from "./results.ts";
import { EVENT_BYTES } from "./telemetry.ts";

const PAGE = new URL("../docs/scale.md", import.meta.url);
const BEGIN = "<!-- computed by `npm run bench` -->";
const END = "<!-- end -->";

export const RATES = [10_000, 100_000, 1_000_000, 10_000_000] as const;

/** How much of a core is planned for; the rest is for peaks, and for catching up after a worker is gone. */
const UTILISATION = 0.6;
/** A gateway is one event loop; a flow worker has an event loop and an engine thread. */
const GATEWAY_CORES = 1;
const FLOW_CORES = 2;
/** Two of everything, so that one may be replaced. */
const FEWEST = 2;
const FLUSH_S = 5;

/** Confluent, "Apache Kafka performance": 605 MB/s into three brokers (i3en.2xlarge) at three replicas and acks=all. */
const BROKER_BYTES_PER_S = 605e6 / 3;
const REPLICAS = 3;
/** AWS, "Optimizing Amazon S3 performance": first bytes after 100 to 200 ms. A commit reads the log's end and puts its entry. */
const COMMITS_PER_S = 1 / (2 * 0.15);
/** The same page: puts a second that every prefix takes at least. */
const PUTS_PER_S = 3_500;
/** Bronze and silver. */
const TABLES = 2;
/** What the index of duplicates keeps of an id (docs/decisions/011-duplicate-index.md). */
const ID_MEMORY_BYTES = 2.2;
const ID_DISK_BYTES = 34;
const ID_HORIZON_S = 3_600;
const DAY_S = 86_400;

/** CPU in µs for an event, and bytes of one that is stored. */
export interface Measured {
  readonly gatewayUs: number;
  readonly flowUs: number;
  readonly storedBytes: number;
}

export interface Plan {
  readonly gateways: number;
  readonly flowWorkers: number;
  readonly partitions: number;
  readonly brokers: number;
  readonly kafkaBytesPerDay: number;
  readonly flushS: number;
  readonly putsPerS: number;
  /** Share of what one prefix, here a table, takes. */
  readonly putShare: number;
  readonly lakeBytesPerDay: number;
  /** Acknowledged and not stored yet, which a query that wants all of it stages. */
  readonly tailEvents: number;
  readonly idMemoryPerWorker: number;
  readonly idDiskPerWorker: number;
}

export function measured(results: Results): Measured {
  const figure = (row: string, id: string) => {
    const found = results[row]?.figures[id];
    if (found === undefined) throw new Error(`"${row}" has no figure "${id}": npm run bench -- ${row}`);
    return found;
  };
  const [flowUs] = Object.values(figure("workers", "cpu").peers ?? {});
  if (flowUs === undefined) throw new Error("the row of workers has no worker alone beside it");
  return {
    gatewayUs: figure("kafka", "zstdCpu").value,
    flowUs,
    storedBytes: figure("flush", "stored").value,
  };
}

export function plan(eventsPerS: number, { gatewayUs, flowUs, storedBytes }: Measured): Plan {
  const processes = (us: number, cores: number) =>
    Math.max(FEWEST, Math.ceil((eventsPerS * us) / 1e6 / (cores * UTILISATION)));
  const flowWorkers = processes(flowUs, FLOW_CORES);
  // Every worker commits to every table, and a table takes one commit at a time.
  const flushS = Math.max(FLUSH_S, Math.ceil(flowWorkers / COMMITS_PER_S));
  const putsPerS = (flowWorkers * TABLES * 2) / flushS;
  const idsPerWorker = (eventsPerS * ID_HORIZON_S) / flowWorkers;
  return {
    gateways: processes(gatewayUs, GATEWAY_CORES),
    flowWorkers,
    partitions: 2 * flowWorkers,
    brokers: Math.max(REPLICAS, Math.ceil((eventsPerS * EVENT_BYTES) / (BROKER_BYTES_PER_S * UTILISATION))),
    kafkaBytesPerDay: eventsPerS * DAY_S * EVENT_BYTES * REPLICAS,
    flushS,
    putsPerS,
    putShare: putsPerS / TABLES / PUTS_PER_S,
    lakeBytesPerDay: eventsPerS * DAY_S * storedBytes,
    tailEvents: eventsPerS * flushS,
    idMemoryPerWorker: idsPerWorker * ID_MEMORY_BYTES,
    idDiskPerWorker: idsPerWorker * ID_DISK_BYTES,
  };
}

/** The page with its table written anew. */
export function scalePage(page: string, results: Results): string {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`docs/scale.md lacks "${BEGIN}" and "${END}"`);
  return `${page.slice(0, from + BEGIN.length)}\n\n${table(measured(results))}\n\n${page.slice(to)}`;
}

export function writeScalePage(): void {
  writeFileSync(PAGE, scalePage(readFileSync(PAGE, "utf8"), readResults()));
}

function table(from: Measured): string {
  const plans = RATES.map((rate) => plan(rate, from));
  const row = (label: string, cell: (plan: Plan) => string) => `| ${[label, ...plans.map(cell)].join(" | ")} |`;
  return [
    `Measured here: ${from.gatewayUs} µs of CPU at the door and ${from.flowUs} µs in a flow worker for an event of ${EVENT_BYTES} bytes, ${from.storedBytes} bytes stored.`,
    "",
    `| events/s | ${RATES.map(thousands).join(" | ")} |`,
    `|---|${RATES.map(() => "--:|").join("")}`,
    row("`gateway` processes, 1 core each", (p) => thousands(p.gateways)),
    row("`flow` workers, 2 cores each", (p) => thousands(p.flowWorkers)),
    row("partitions of the stream", (p) => thousands(p.partitions)),
    row("Kafka brokers (8 cores, NVMe, 25 Gbit/s)", (p) => thousands(p.brokers)),
    row("Kafka's disks a day kept, 3 replicas, not compressed", (p) => size(p.kafkaBytesPerDay)),
    row("`flushIntervalMs`", (p) => `${p.flushS} s`),
    row("puts a second, two tables", (p) => `${oneDigit(p.putsPerS)} (${percent(p.putShare)} of a prefix)`),
    row("lake a day, bronze and silver", (p) => size(p.lakeBytesPerDay)),
    row("tail that a query may have to stage", (p) => `${thousands(p.tailEvents)} events`),
    row("memory for ids of one hour, a worker", (p) => size(p.idMemoryPerWorker)),
    row("disk for ids of one hour, a worker", (p) => size(p.idDiskPerWorker)),
  ].join("\n");
}

function thousands(count: number): string {
  return count.toLocaleString("en");
}

function oneDigit(count: number): string {
  return count.toLocaleString("en", { maximumFractionDigits: 1 });
}

function percent(share: number): string {
  return `${(share * 100).toLocaleString("en", { maximumFractionDigits: 2 })} %`;
}

function size(bytes: number): string {
  const unit = ["MB", "GB", "TB", "PB"].findLastIndex((_, i) => bytes >= 10 ** (6 + 3 * i));
  const at = Math.max(0, unit);
  return `${(bytes / 10 ** (6 + 3 * at)).toLocaleString("en", { maximumSignificantDigits: 2 })} ${["MB", "GB", "TB", "PB"][at]}`;
}
