/**
 * What is measured, and what it has to reach on two cores. A row is measured by `bench/rows/<name>.ts`; `docs/benchmarks.md` shows
 * the rows in this order.
 */
export interface Row {
  readonly name: string;
  readonly what: string;
  /** By id. The order is that of the page. */
  readonly figures: Readonly<Record<string, FigureDeclaration>>;
}

export interface FigureDeclaration {
  readonly label: string;
  readonly unit: Unit;
  readonly better: "higher" | "lower";
  readonly floor?: number;
  readonly aim?: number;
}

export type Unit =
  | "events/s"
  | "requests/s"
  | "runs/s"
  | "frames/s"
  | "steps/s"
  | "ms"
  | "s"
  | "MB"
  | "kB"
  | "x"
  | "events"
  | "cores"
  | "µs/event"
  | "bytes/event";

const higher = { better: "higher" } as const;
const lower = { better: "lower" } as const;

export const SPEED_TABLE: readonly Row[] = [
  {
    name: "ingest-batched",
    what: "durable ingest, 100 events a request, validated, fsync before the answer",
    figures: {
      rate: { label: "nothing flushed meanwhile", unit: "events/s", ...higher, floor: 400_000, aim: 1_000_000 },
      p99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      flushingRate: { label: "with the default flushes beside it", unit: "events/s", ...higher },
      flushingP99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      generatorCores: { label: "the load generator's own CPU", unit: "cores", ...lower },
    },
  },
  {
    name: "ingest-single",
    what: "durable ingest, one event a request",
    figures: {
      rate: { label: "nothing flushed meanwhile", unit: "requests/s", ...higher, floor: 25_000, aim: 40_000 },
      p99: { label: "… the slowest of 100 answers", unit: "ms", ...lower, floor: 10 },
      flushingRate: { label: "with the default flushes beside it", unit: "requests/s", ...higher },
      flushingP99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      generatorCores: { label: "the load generator's own CPU", unit: "cores", ...lower },
    },
  },
  {
    name: "kafka",
    what: "durable ingest with the log on Kafka, 100 events a request, validated, acks=all (npm run engines:up -- kafka)",
    figures: {
      rate: { label: "as they are", unit: "events/s", ...higher },
      p50: { label: "… an answer, median (the peer: average)", unit: "ms", ...lower },
      p99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      cpu: { label: "CPU of the platform per event", unit: "µs/event", ...lower },
      zstdRate: { label: "compressed with zstd, the default", unit: "events/s", ...higher },
      zstdCpu: { label: "CPU of the platform per event", unit: "µs/event", ...lower },
      zstdP99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
    },
  },
  {
    name: "workers",
    what: "two flow workers store what a gateway takes, from Kafka into tables on S3 (npm run engines:up -- kafka s3 postgres)",
    figures: {
      rate: { label: "stored by both", unit: "events/s", ...higher },
      cpu: { label: "CPU of the workers per event", unit: "µs/event", ...lower },
      cores: { label: "CPU that they used", unit: "cores", ...lower },
    },
  },
  {
    name: "segment",
    what: "durable ingest through the Segment door, 100 messages a batch",
    figures: {
      rate: { label: "nothing flushed meanwhile", unit: "events/s", ...higher, floor: 150_000 },
      p99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      flushingRate: { label: "with the default flushes beside it", unit: "events/s", ...higher },
      generatorCores: { label: "the load generator's own CPU", unit: "cores", ...lower },
    },
  },
  {
    name: "kinesis",
    what: "durable ingest through the Kinesis door, PutRecords of 500 records",
    figures: {
      rate: { label: "nothing flushed meanwhile", unit: "events/s", ...higher, floor: 100_000 },
      p99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      flushingRate: { label: "with the default flushes beside it", unit: "events/s", ...higher },
      generatorCores: { label: "the load generator's own CPU", unit: "cores", ...lower },
      sdkRate: { label: "with AWS's SDK for JavaScript as the sender", unit: "events/s", ...higher },
      sdkCores: { label: "… the sender's own CPU", unit: "cores", ...lower },
    },
  },
  {
    name: "visible",
    what: "acknowledged -> visible to SQL",
    figures: {
      missed: { label: "acknowledged but not in the answer of the next query", unit: "events", ...lower, floor: 0 },
      p50: { label: "post, then query: median", unit: "ms", ...lower },
      p99: { label: "post, then query: the slowest of 100", unit: "ms", ...lower },
      queryP50: { label: "the query alone: median", unit: "ms", ...lower },
    },
  },
  {
    name: "tail-query",
    what: "extra query time for the tail, 50 k events/s incoming",
    figures: {
      countP50: { label: "count and max: median", unit: "ms", ...lower },
      countP99: { label: "count and max: the slowest of 100", unit: "ms", ...lower, floor: 100, aim: 50 },
      groupP50: { label: "aggregates by vehicle: median", unit: "ms", ...lower },
      groupP99: { label: "aggregates by vehicle: the slowest of 100", unit: "ms", ...lower, floor: 100, aim: 50 },
    },
  },
  {
    name: "flush",
    what: "log -> bronze + silver (checked, deduplicated, committed)",
    figures: {
      rate: { label: "rate", unit: "events/s", ...higher, floor: 400_000, aim: 800_000 },
      cpu: { label: "CPU time", unit: "µs/event", ...lower },
      stored: { label: "bronze and silver on disk", unit: "bytes/event", ...lower },
    },
  },
  {
    name: "flush-growth",
    what: "cost of a flush as the table grows 1 -> 10 000 files",
    figures: {
      growth: { label: "flush with 10 000 files / with 1", unit: "x", ...lower, floor: 1.5, aim: 1.1 },
      few: { label: "flush of 60 000 events into a table of 1 file", unit: "ms", ...lower },
      many: { label: "… of 10 000 files", unit: "ms", ...lower },
    },
  },
  {
    name: "restart",
    what: "restart after kill -9 with 1 GiB unflushed",
    figures: {
      ready: { label: "to the ready line", unit: "s", ...lower, floor: 3, aim: 1 },
      lost: { label: "acknowledged and not in the log afterwards", unit: "events", ...lower, floor: 0 },
    },
  },
  {
    name: "first-start",
    what: "first start to first event queried, installed",
    figures: {
      total: { label: "from the command to the event in a query's answer", unit: "s", ...lower, floor: 6, aim: 3 },
      ready: { label: "… of it to the ready line", unit: "s", ...lower },
    },
  },
  {
    name: "memory",
    what: "resident memory, with the embedded PostgreSQL",
    figures: {
      idle: { label: "idle", unit: "MB", ...lower, floor: 350, aim: 250 },
      ingest: { label: "at full ingest, default flushes", unit: "MB", ...lower, floor: 1_000, aim: 600 },
      idleNode: { label: "idle, without PostgreSQL", unit: "MB", ...lower },
      ingestNode: { label: "at full ingest, without PostgreSQL", unit: "MB", ...lower },
    },
  },
  {
    name: "overload",
    what: "twice as much as can be stored",
    figures: {
      goodput: { label: "stored, as a part of the most that can be", unit: "x", ...higher, floor: 0.9, aim: 0.95 },
      rate: { label: "stored", unit: "events/s", ...higher },
      p99: { label: "the slowest of 100 accepted answers", unit: "ms", ...lower },
      recovery: {
        label: "from the end of the load until all is accepted at once",
        unit: "s",
        ...lower,
        floor: 5,
        aim: 1,
      },
      inflight: { label: "bytes of requests under way, at most", unit: "MB", ...lower, floor: 268 },
      resident: { label: "resident memory, at most", unit: "MB", ...lower },
      health: { label: "/healthz meanwhile: the slowest", unit: "ms", ...lower },
      query: { label: "a query of a small table meanwhile: median", unit: "ms", ...lower },
    },
  },
  {
    name: "overload-neighbour",
    what: "20 requests a second beside a sender of twice as much as can be stored",
    figures: {
      stream: { label: "another stream, same key: accepted", unit: "x", ...higher, floor: 0.999 },
      streamP99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
      key: { label: "another key, same stream: accepted", unit: "x", ...higher, floor: 0.999 },
      keyP99: { label: "… the slowest of 100 answers", unit: "ms", ...lower },
    },
  },
  {
    name: "console",
    what: "the console's map of 500 nodes, dragged about in Chromium",
    figures: {
      whole: { label: "all of it on the screen", unit: "frames/s", ...higher, floor: 55, aim: 60 },
      wholeP99: { label: "… the slowest of 100 frames", unit: "ms", ...lower },
      near: { label: "a part of it, near enough to be read", unit: "frames/s", ...higher, floor: 55, aim: 60 },
      nearP99: { label: "… the slowest of 100 frames", unit: "ms", ...lower },
    },
  },
  {
    name: "console-grid",
    what: "the console's first page, and 10,000 rows under the mouse wheel, in Chromium",
    figures: {
      rows: { label: "10,000 rows, row by row", unit: "frames/s", ...higher, floor: 55, aim: 60 },
      rowsP99: { label: "… the slowest of 100 frames", unit: "ms", ...lower },
      screens: { label: "… screen by screen", unit: "frames/s", ...higher, floor: 55, aim: 60 },
      screensP99: { label: "… the slowest of 100 frames", unit: "ms", ...lower },
      rowsWork: { label: "… the main thread's own time per frame, row by row", unit: "ms", ...lower, floor: 16 },
      screensWork: { label: "… screen by screen", unit: "ms", ...lower, floor: 16 },
      interactive: { label: "the first page can be used after", unit: "ms", ...lower, floor: 1_000 },
      firstLoad: { label: "what comes for it", unit: "kB", ...lower, floor: 250 },
    },
  },
  {
    name: "tracker",
    what: "what the tracker costs a page, in Chromium",
    figures: {
      busy: { label: "main-thread time per event, all of it", unit: "ms", ...lower, floor: 1, aim: 0.5 },
      call: { label: "… the call of track(), the slowest of 100", unit: "ms", ...lower },
    },
  },
  {
    name: "publish",
    what: "a million rows to PostgreSQL, and one in a hundred changed",
    figures: {
      all: { label: "all rows", unit: "s", ...lower, floor: 10 },
      change: { label: "changes of one part of the table", unit: "s", ...lower, floor: 1 },
      spread: { label: "changes all over it, every file rewritten", unit: "s", ...lower },
    },
  },
  {
    name: "sessions",
    what: "ten million stored events in sessions, from nothing and with late ones on top",
    figures: {
      scratch: { label: "all from nothing", unit: "s", ...lower, floor: 10 },
      late: { label: "1 % late, of the last two days", unit: "s", ...lower, floor: 1 },
      lateSpread: { label: "1 % late, of all thirty days, every file touched", unit: "s", ...lower },
      few: { label: "a thousand new events", unit: "s", ...lower },
      linked: { label: "two million with linked people, from nothing", unit: "s", ...lower },
      lateLinked: { label: "… 1 % late, of the last two days, with new links", unit: "s", ...lower },
    },
  },
  {
    name: "features",
    what: "features read over HTTP while 20 k events/s come in",
    figures: {
      p99: { label: "one value, the slowest of 100", unit: "ms", ...lower, floor: 1 },
      p50: { label: "… median", unit: "ms", ...lower },
      manyP99: { label: "4 features of 10 keys in one request, the slowest of 100", unit: "ms", ...lower },
      freshP50: { label: "from an event's answer to the first read that counts it: median", unit: "ms", ...lower },
      freshP99: { label: "… the slowest of 100", unit: "ms", ...lower, floor: 50 },
      rate: { label: "events meanwhile", unit: "events/s", ...higher },
    },
  },
  {
    name: "workflows",
    what: "100 workflow starts/s with 10 steps each",
    figures: {
      delayP99: { label: "scheduling delay: the slowest of 100", unit: "ms", ...lower, floor: 1_000 },
      delayP50: { label: "scheduling delay: median", unit: "ms", ...lower },
      cronP99: { label: "delay of runs by cron: the slowest of 100", unit: "ms", ...lower, floor: 1_000 },
      ended: { label: "runs ended", unit: "runs/s", ...higher },
      cpu: { label: "CPU of the platform, without PostgreSQL's", unit: "cores", ...lower },
      burst: { label: "a thousand runs at once", unit: "steps/s", ...higher, floor: 1_000 },
    },
  },
  {
    name: "alert",
    what: "an alert out of a running platform: from the answer to its event until who follows the stream has it",
    figures: {
      p50: { label: "20 k events/s, median", unit: "ms", ...lower },
      p99: { label: "… the slowest of 100", unit: "ms", ...lower, floor: 10 },
      rate: { label: "… events meanwhile", unit: "events/s", ...higher },
      busyP50: { label: "100 k events/s, median", unit: "ms", ...lower },
      busyP99: { label: "… the slowest of 100", unit: "ms", ...lower, floor: 50 },
      busyRate: { label: "… events meanwhile", unit: "events/s", ...higher },
    },
  },
  {
    name: "react",
    what: "reactions: operators over the log, and their state",
    figures: {
      rate: { label: "keyed windows over one stream, from the log", unit: "events/s", ...higher, aim: 250_000 },
      cpu: { label: "… processor time of all threads", unit: "µs/event", ...lower, aim: 4 },
      alertP50: { label: "acknowledged to alert readable, 20 k events/s, median", unit: "ms", ...lower },
      alertP99: { label: "… the slowest of 100", unit: "ms", ...lower, aim: 10 },
      busyP50: { label: "acknowledged to alert readable, 100 k events/s, median", unit: "ms", ...lower },
      busyP99: { label: "… the slowest of 100", unit: "ms", ...lower, aim: 50 },
      readP99: { label: "read of a key at 20 k events/s, the slowest of 100", unit: "ms", ...lower, aim: 1 },
      busyReadP99: { label: "… at 100 k events/s", unit: "ms", ...lower },
      restore: { label: "a million keys with three windows each restored", unit: "s", ...lower, aim: 5 },
      memory: { label: "… resident memory of the process", unit: "MB", ...lower, aim: 1_000 },
      checkpoint: { label: "… checkpoint of one changed key", unit: "ms", ...lower },
    },
  },
  {
    name: "spark",
    what: "the fleet's silver job (cleanse, deduplicate, hourly metrics) against plain PySpark with Delta (local[2])",
    figures: {
      duckdb: { label: "times as fast on the embedded engine", unit: "x", ...higher, floor: 10 },
      adapter: { label: "time through the Spark adapter, of plain PySpark's", unit: "x", ...lower, floor: 1.2 },
      duckdbCpu: { label: "PySpark's CPU time, of the embedded engine's", unit: "x", ...higher },
      adapterCpu: { label: "CPU time through the Spark adapter, of plain PySpark's", unit: "x", ...lower },
      duckdbSeconds: { label: "on the embedded engine", unit: "s", ...lower },
      adapterSeconds: { label: "through the Spark adapter", unit: "s", ...lower },
    },
  },
];
