/**
 * Where an SDK puts its write key: as the user of `Authorization: Basic base64(KEY:)` (servers, the browser library), as `?writeKey=` of
 * the path, or as `writeKey` in the body (older browser and mobile libraries). `Authorization: Bearer KEY` is taken as well.
 */
import { MillraceError } from "../../errors.ts";
import type { KeyVerifier, Principal } from "../auth.ts";
import type { StreamDoor } from "../stream-door.ts";

/** The key in the headers or the query; undefined when neither has one. @throws UNAUTHENTICATED */
export function announcedKey(authorization: string | undefined, query: string): string | undefined {
  if (authorization !== undefined && authorization !== "") {
    const [, scheme, value] = /^(\S+) +(\S+) *$/.exec(authorization) ?? [];
    if (scheme?.toLowerCase() === "basic") {
      const pair = Buffer.from(value as string, "base64").toString("utf8");
      const colon = pair.indexOf(":");
      return colon < 0 ? pair : pair.slice(0, colon);
    }
    if (scheme?.toLowerCase() === "bearer") return value;
    throw new MillraceError("UNAUTHENTICATED", {
      reason: "the Authorization header is neither `Basic base64(WRITE_KEY:)` nor `Bearer KEY`",
    });
  }
  if (query === "") return undefined;
  return new URLSearchParams(query).get("writeKey") ?? undefined;
}

/** Which source a key writes to. */
export class WriteKeys {
  readonly #keys: KeyVerifier;
  readonly #sources: ReadonlyMap<string, StreamDoor>;
  /** Principals live as long as their keys. */
  readonly #known = new WeakMap<Principal, StreamDoor>();

  constructor(keys: KeyVerifier, sources: ReadonlyMap<string, StreamDoor>) {
    this.#keys = keys;
    this.#sources = sources;
  }

  /** @throws UNAUTHENTICATED, WRITE_KEY_UNFIT */
  open(key: string | undefined): { readonly id: string; readonly door: StreamDoor } {
    if (key === undefined || key === "")
      throw new MillraceError("UNAUTHENTICATED", { reason: "there is no write key" });
    const principal = this.#keys.verify(key);
    if (principal === undefined)
      throw new MillraceError("UNAUTHENTICATED", { reason: "the write key is unknown or was revoked" });
    let door = this.#known.get(principal);
    if (door === undefined) {
      door = this.#doorOf(principal);
      this.#known.set(principal, door);
    }
    return { id: principal.id, door };
  }

  #doorOf({ name, scopes }: Principal): StreamDoor {
    const named = [...scopes].filter((scope) => scope.startsWith("write:")).map((scope) => scope.slice(6));
    const doors = named.map((stream) => this.#sources.get(stream)).filter((door) => door !== undefined);
    const [only] = doors;
    if (only !== undefined && doors.length === 1) return only;
    const known = [...this.#sources.keys()].join(", ");
    if (doors.length > 1)
      throw new MillraceError("WRITE_KEY_UNFIT", { name, reason: `it names ${doors.length} of them (${known})` });
    if (named.length > 0) {
      const reason = `${named.join(", ")} is none of the sources of this project (${known})`;
      throw new MillraceError("WRITE_KEY_UNFIT", { name, reason });
    }
    const [source] = this.#sources.values();
    // A key that may send anywhere needs no name where there is one place to send to.
    const anywhere = scopes.has("ingest") || scopes.has("admin");
    if (anywhere && this.#sources.size === 1 && source !== undefined) return source;
    const reason = anywhere ? `this project has ${this.#sources.size} (${known})` : "it has no scope that sends";
    throw new MillraceError("WRITE_KEY_UNFIT", { name, reason });
  }
}
