/**
 * Where the lake's files are. Keys are relative, `/`-separated, without `.` or `..` segments. No key goes on behind another with a
 * slash: where folders are real, one name is not both, and some remote services list only one of the two.
 *
 * What every adapter promises:
 * - `put` and `putIfAbsent` are atomic: a reader sees the whole object or none, and a resolved call is durable.
 * - `putIfAbsent` is the only arbiter between writers: of any number of concurrent callers exactly one gets `true`. It tells its
 *   own object from another's by the bytes, so no two callers may offer the same ones: they hold an id that nobody else uses.
 * - A call that rejects may have had its effect all the same, and may have it later.
 * - `list` sees every object whose `put` had resolved before the call.
 */
export interface ObjectStore {
  /** True where bytes come over a network, for time and money: nobody reads everything again and again. */
  readonly remote: boolean;

  /** @throws OBJECT_NOT_FOUND */
  get(key: string): Promise<Uint8Array>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** False when the key exists already; the object there is unchanged. */
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean>;
  /** Objects whose key begins with `prefix`, in the order of their keys. `after`: only keys greater than this one. */
  list(prefix: string, options?: { after?: string }): Promise<ObjectInfo[]>;
  /** Removing what is not there is no error. */
  delete(key: string): Promise<void>;

  /**
   * A local path under which an engine can write the object; `publish` makes it durable and visible under the key. The key is one
   * that nobody else uses. On a local file system this is the final place itself. Of a `publish` that rejects no file stays behind
   * where the two differ.
   */
  stage(key: string): Promise<string>;
  publish(key: string): Promise<PublishedObject>;
  /**
   * CRC-32 of the object's bytes as they are stored now, eight hexadecimal digits. They are read anew for it, and a local copy
   * that differs from them is replaced.
   * @throws OBJECT_NOT_FOUND
   */
  checksum(key: string): Promise<string>;

  /** The local path that holds the (immutable) object while it is held. Nothing is looked at. */
  localPath(key: string): string;
  /**
   * Brings objects to their local paths, fetched first where the store is remote, and keeps them there until the function it
   * resolves to is called.
   * @throws OBJECT_NOT_FOUND; what the signal was aborted with
   */
  hold(keys: readonly string[], signal?: AbortSignal): Promise<() => void>;
  /**
   * How an engine with an access of its own names the object: `file:///…` or `s3://bucket/…`. The key stands in it as it is,
   * nothing is percent-encoded.
   */
  uri(key: string): string;
}

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
}

export interface PublishedObject extends ObjectInfo {
  /** As `checksum` gives it. */
  readonly checksum: string;
}
