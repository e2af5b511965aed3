import type { FastifyInstance, preHandlerAsyncHookHandler } from "fastify";
import type { Scope } from "../gateway/auth.ts";
import type { ProcessView } from "./system-route.ts";

/**
 * What the project consists of and how it hangs together, and how all of it does right now.
 *
 *     GET /v1/map      query   {"nodes": [MapNode], "edges": [MapEdge]}     as it is defined; it stays while the platform runs
 *     GET /v1/live     query   text/event-stream: `event: pulse` with a Pulse every second, the first at once
 *
 * One pulse is made a second, however many look, and none while nobody does.
 */
export interface Live {
  map(): ProjectMap;
  pulse(): Promise<Pulse>;
}

export interface ProjectMap {
  readonly nodes: readonly MapNode[];
  readonly edges: readonly MapEdge[];
}

export type NodeKind =
  | "stream"
  | "table"
  | "function"
  | "window"
  | "feature"
  | "alert"
  | "workflow"
  | "destination"
  | "server";

export interface MapNode {
  /** `kind:name`. */
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
  /** One line of what it is: `append`, `refresh by day`, `every 5m`, `slack`. */
  readonly detail: string;
  /** Where it is defined, relative to the project's folder; null for what the platform adds. */
  readonly file: string | null;
}

export interface MapEdge {
  readonly from: string;
  readonly to: string;
  /** `events` go along it one by one, `rows` when tables commit; `lookup` is only read; `starts` and `delivers` say when and where. */
  readonly kind: "events" | "rows" | "lookup" | "starts" | "delivers";
}

/** How everything is at one moment. Counters only grow, but for a restart; rates are the reader's to compute. */
export interface Pulse {
  readonly atMs: number;
  readonly ready: boolean;
  readonly problems: readonly string[];
  readonly balanced: boolean;
  readonly residentBytes: number;
  readonly startedAtMs: number;
  /** Alerts that fire, by severity. */
  readonly firing: { readonly critical: number; readonly warning: number; readonly info: number };
  readonly deadLetters: number;
  /** Questions in SQL that are being answered. */
  readonly queries: number;
  readonly process: Pick<ProcessView, "cpu" | "memory" | "eventLoop">;
  /**
   * A text for each thing that a page may show, which is another one when it has changed: `streams`, `tables`, `runs`, `alerts`, `silences`,
   * `dead-letters`, `ledger`, `notebooks`, `workers`, `latencies`; of one stream `stream:NAME`, of one table `table:NAME`. Whoever shows something asks for
   * it again when its text changes, and not before.
   */
  readonly stamps: Readonly<Record<string, string>>;
  /** When each process was last heard of, by its id. */
  readonly heartbeats: Readonly<Record<string, number>>;
  /** By the node's id. */
  readonly nodes: Readonly<Record<string, NodePulse>>;
}

export interface NodePulse {
  /** Events or rows that have come through. */
  readonly count: number;
  /** Acknowledged and not there yet. */
  readonly pending: number;
  /** Since the start. */
  readonly rejected: number;
  /** Dead letters that are open: of a stream those of the door. */
  readonly deadLettered: number;
  /** When its newest rows were committed; null where that says nothing. */
  readonly freshAtMs: number | null;
  readonly health: "ok" | "warning" | "bad" | "idle";
  /** Why it is not well. */
  readonly problem: string | null;
  /** Since when it is not well, as far as this process has seen it; null while it is. */
  readonly sinceMs: number | null;
}

export interface MapRouteOptions {
  readonly live: Live;
  readonly requireScope: (scope: Scope) => preHandlerAsyncHookHandler;
  /** Aborts when the server closes. */
  readonly closing: AbortSignal;
}

const PULSE_MS = 1_000;

/** A fastify plugin. */
export async function mapRoute(app: FastifyInstance, { live, requireScope, closing }: MapRouteOptions): Promise<void> {
  const query = { preHandler: requireScope("query") };
  const listeners = new Set<(message: string) => void>();
  let last = "";
  let timer: NodeJS.Timeout | undefined;
  let making = false;

  const beat = () => {
    if (making) return;
    making = true;
    live
      .pulse()
      .then(
        (pulse) => {
          last = `event: pulse\ndata: ${JSON.stringify(pulse)}\n\n`;
        },
        (error: unknown) => {
          const { code = "INTERNAL", message = String(error) } = error as { code?: string; message?: string };
          last = `event: failure\ndata: ${JSON.stringify({ code, message })}\n\n`;
        },
      )
      .then(() => {
        for (const listener of listeners) listener(last);
      })
      .finally(() => {
        making = false;
      });
  };

  app.get("/v1/map", query, async () => live.map());

  app.get("/v1/live", query, (request, reply) => {
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, {
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-store",
      "X-Accel-Buffering": "no",
    });
    // Whoever reads slowly misses pulses; the next says all that the missed ones did.
    const listener = (message: string) => {
      if (!response.writableNeedDrain) response.write(message);
    };
    const leave = () => {
      listeners.delete(listener);
      closing.removeEventListener("abort", leave);
      if (listeners.size === 0) {
        clearInterval(timer);
        timer = undefined;
      }
      response.end();
    };
    response.on("error", leave);
    request.raw.once("close", leave);
    closing.addEventListener("abort", leave, { once: true });
    listeners.add(listener);
    response.write("retry: 2000\n\n");
    timer ??= setInterval(beat, PULSE_MS);
    beat();
    if (closing.aborted) leave();
  });
}
