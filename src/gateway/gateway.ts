import { randomUUID } from "node:crypto";
import type { FastifyInstance } from "fastify";
import type { Registry } from "prom-client";
import type { Stream } from "../define/project.ts";
import type { EventLog } from "../log/event-log.ts";
import { Admission, type AdmissionPorts } from "./admission.ts";
import type { KeyVerifier } from "./auth.ts";
import { corsFor } from "./cors.ts";
import type { DeadLetterSink } from "./dead-letter-sink.ts";
import { doorMetrics } from "./door-metrics.ts";
import type { FailureReport } from "./error-answer.ts";
import { EventsDoor } from "./events-door.ts";
import type { Readiness } from "./health-routes.ts";
import { healthRoutes } from "./health-routes.ts";
import { createHttpServer, type HttpServerOptions } from "./http-server.ts";
import type { KinesisDeps } from "./kinesis/kinesis-door.ts";
import { KinesisDoor } from "./kinesis/kinesis-door.ts";
import type { PartitionOf } from "./partition-router.ts";
import { SEGMENT_ROUTES, SegmentDoor } from "./segment/segment-door.ts";
import { settingsRoute } from "./segment/settings-route.ts";
import { StreamDoor } from "./stream-door.ts";
import { streamsRoutes } from "./streams-routes.ts";

export interface GatewaySettings {
  readonly host: string;
  readonly port: number;
  readonly maxBodyBytes: number;
  readonly maxEventBytes: number;
  readonly maxNesting: number;
  readonly inflightBytes: number;
  readonly requestTimeoutMs: number;
  /** Largest message and largest body of the Segment door. Default: what Segment takes. */
  readonly segmentMessageBytes?: number;
  readonly segmentBatchBytes?: number;
  /** Origins of pages that may send events (cors.ts). Default: none. */
  readonly corsOrigins?: string;
}

/** Times that users have no need to set. */
export interface GatewayTiming {
  readonly headersTimeoutMs?: number;
  /** The longest a body may pause. */
  readonly idleBodyMs?: number;
  readonly keepAliveTimeoutMs?: number;
  readonly closeTimeoutMs?: number;
  /** Between two signs of life on a connection that follows a stream. */
  readonly heartbeatMs?: number;
  readonly maxConnections?: number;
}

export interface GatewayDeps {
  /** False: events are taken by other processes, and here are only the routes of other parts. Default: true. */
  readonly doors?: boolean;
  /** What to say of a route that is not here, where another process has it. */
  readonly elsewhere?: HttpServerOptions["elsewhere"];
  /** Every stream must be open in it. */
  readonly log: EventLog;
  readonly streams: ReadonlyMap<string, Stream>;
  readonly keys: KeyVerifier;
  readonly deadLetters: DeadLetterSink;
  /** Whether the whole path can accept and store. */
  readonly ready: () => Promise<Readiness>;
  readonly registry: Registry;
  readonly settings: GatewaySettings;
  readonly partitionOf: PartitionOf;
  /** What the Kinesis door knows beside the streams; without it there is none. */
  readonly kinesis?: KinesisDeps["kinesis"];
  /** Hears of failures that the answer does not show the cause of. */
  readonly report: FailureReport;
  readonly timing?: GatewayTiming;
  /** Clock, turns of the event loop and chance, as the admission of events sees them. The machine's own unless given. */
  readonly admissionPorts?: AdmissionPorts;
}

export interface Gateway {
  /** Routes of other parts are registered here before `listen`. */
  readonly app: FastifyInstance;
  /** Aborts when the door begins to close. */
  readonly closing: AbortSignal;
  /** @throws PORT_IN_USE, LISTEN_FAILED */
  listen(): Promise<{ readonly url: string; readonly port: number }>;
  /** Goes on serving, and ends each connection with its next answer, so that clients turn to another process. */
  drain(): void;
  /** Takes nothing new, answers what is under way, closes every connection. */
  close(): Promise<void>;
}

/** The front door with all its routes, not yet listening. @throws CONTRACT_NOT_COMPILABLE, SETTING_INVALID */
export function createGateway(deps: GatewayDeps): Gateway {
  const { log, keys, settings, timing = {}, registry, report, doors: hasDoors = true } = deps;
  const streams = hasDoors ? deps.streams : new Map<string, Stream>();
  const admission = new Admission(settings.inflightBytes, deps.admissionPorts);
  const doorDeps = {
    log,
    streams,
    keys,
    deadLetters: deps.deadLetters,
    partitionOf: deps.partitionOf,
    admission,
    metrics: doorMetrics(registry, () => admission.inflightBytes),
    limits: { ...settings, idleBodyMs: timing.idleBodyMs ?? 10_000 },
    report,
    isClosing: () => server.closing.aborted,
  };
  const doors = new Map([...streams.values()].map((stream) => [stream.name, new StreamDoor(stream, doorDeps)]));
  const door = new EventsDoor(doorDeps, doors);
  const sources = new Map([...doors].filter(([, { stream }]) => stream.segment !== undefined));
  const { segmentMessageBytes = 32 * 1024, segmentBatchBytes = 512 * 1024 } = settings;
  const segment = new SegmentDoor(
    { ...doorDeps, segment: { segmentMessageBytes, segmentBatchBytes }, randomId: randomUUID },
    sources,
  );
  const hasSources = sources.size > 0;
  const kinesis = hasDoors && deps.kinesis ? new KinesisDoor({ ...doorDeps, kinesis: deps.kinesis }, doors) : undefined;
  const cors = corsFor(settings.corsOrigins ?? "none");
  const server = createHttpServer({
    ...timing,
    host: settings.host,
    port: settings.port,
    maxBodyBytes: settings.maxBodyBytes,
    requestTimeoutMs: settings.requestTimeoutMs,
    hotPath: (request, response, mustContinue) =>
      cors?.(request, response) ||
      (hasDoors && door.take(request, response, mustContinue)) ||
      (hasSources && segment.take(request, response, mustContinue)) ||
      kinesis?.take(request, response, mustContinue) === true,
    http2Path: kinesis && ((request, response, mustContinue) => kinesis.take(request, response, mustContinue)),
    hotRoutes: [
      ...(hasDoors ? [{ method: "POST", url: "/v1/streams/:stream/events" }] : []),
      ...(hasSources ? SEGMENT_ROUTES : []),
    ],
    elsewhere: deps.elsewhere,
    report,
  });
  const { app, closing } = server;
  if (hasDoors) app.register(streamsRoutes({ log, streams, keys, closing, heartbeatMs: timing.heartbeatMs ?? 15_000 }));
  app.register(healthRoutes(deps.ready, registry));
  if (hasSources) app.register(settingsRoute(segment.writeKeys));
  return {
    app,
    closing,
    listen: () => server.listen(),
    drain: () => server.drain(),
    async close() {
      closing.addEventListener("abort", () => admission.refusals.close(), { once: true });
      await server.close();
      door.close();
      segment.close();
      kinesis?.close();
    },
  };
}
