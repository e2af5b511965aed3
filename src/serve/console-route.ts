/**
 * The console's own files, at `/` and below it. They are built ahead; nothing is read from the disk while it serves.
 *
 * Every page is the one page, which reads its address itself. Files under `/assets/` carry their content's hash in their names and are kept for
 * ever; the page is asked for anew each time. The policy lets the page run and show what comes from this origin alone, and no text of a payload or of a
 * result can become a script or a style.
 */
import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { MillraceError } from "../errors.ts";

/** A built console in memory, by path. */
export interface ConsoleFiles {
  /** The page, with `NONCE` where the nonce of each answer goes. */
  readonly page: string;
  readonly assets: ReadonlyMap<string, Buffer>;
}

const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".json": "application/json; charset=utf-8",
};
const NONCE = /__NONCE__/g;

/** Reads a build; undefined where there is none, as in a checkout whose build was left out. */
export async function readConsole(dir: string): Promise<ConsoleFiles | undefined> {
  let page: string;
  try {
    page = await readFile(join(dir, "index.html"), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const names = await readdir(join(dir, "assets"));
  const files = names.map(async (name) => [`/assets/${name}`, await readFile(join(dir, "assets", name))] as const);
  return { page, assets: new Map(await Promise.all(files)) };
}

/** A fastify plugin. */
export async function consoleRoute(
  app: FastifyInstance,
  { files }: { files: ConsoleFiles | undefined },
): Promise<void> {
  const compressed = new Map<string, Promise<Buffer>>();

  app.get("/assets/*", async (request, reply) => {
    const path = request.url.split("?", 1)[0] as string;
    const bytes = files?.assets.get(path);
    if (bytes === undefined) throw new MillraceError("ROUTE_UNKNOWN", { method: "GET", path });
    reply.header("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    reply.header("Cache-Control", "public, max-age=31536000, immutable");
    return send(request, reply, path, bytes, compressed);
  });

  const page = async (_request: FastifyRequest, reply: FastifyReply) => {
    if (files === undefined) throw new MillraceError("CONSOLE_NOT_BUILT");
    const nonce = randomBytes(16).toString("base64");
    reply.header("Content-Type", "text/html; charset=utf-8");
    reply.header("Cache-Control", "no-cache");
    reply.header("Content-Security-Policy", policy(nonce));
    reply.header("Referrer-Policy", "no-referrer");
    reply.header("X-Content-Type-Options", "nosniff");
    reply.header("X-Frame-Options", "DENY");
    reply.header("Cross-Origin-Opener-Policy", "same-origin");
    return reply.send(files.page.replace(NONCE, nonce));
  };
  app.get("/", page);
  for (const place of PLACES) {
    app.get(`/${place}`, page);
    app.get(`/${place}/*`, page);
  }
}

/** First parts of the console's addresses; all others keep their answer, so that a mistyped API path is told as one. */
export const PLACES = [
  "map",
  "streams",
  "tables",
  "sql",
  "runs",
  "dead-letters",
  "ledger",
  "alerts",
  "system",
  "sign-in",
];

function policy(nonce: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self' data: blob:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}

async function send(
  request: FastifyRequest,
  reply: FastifyReply,
  path: string,
  bytes: Buffer,
  compressed: Map<string, Promise<Buffer>>,
): Promise<FastifyReply> {
  const accepted = String(request.headers["accept-encoding"] ?? "");
  const encoding = /\bbr\b/.test(accepted) ? "br" : /\bgzip\b/.test(accepted) ? "gzip" : undefined;
  reply.header("Vary", "Accept-Encoding");
  if (encoding === undefined) return reply.send(bytes);
  const name = `${encoding} ${path}`;
  let work = compressed.get(name);
  if (work === undefined) {
    work = encoding === "br" ? brotli(bytes) : promisify(gzip)(bytes, { level: 9 });
    compressed.set(name, work);
  }
  return reply.header("Content-Encoding", encoding).send(await work);
}

/** Once per file and start: the best that takes no noticeable time. */
function brotli(bytes: Buffer): Promise<Buffer> {
  return promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } });
}
