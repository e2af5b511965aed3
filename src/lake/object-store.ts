/**
 * Where the lake's files are. Keys are relative, `/`-separated, without `.` or `..` segments.
 *
 * What every adapter promises:
 * - `put` and `putIfAbsent` are atomic: a reader sees the whole object or none, and a resolved call is durable.
 * - `putIfAbsent` is the only arbiter between writers: of any number of concurrent callers exactly one gets `true`.
 * - `list` sees every object whose `put` had resolved before the call.
 */
export interface ObjectStore {
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
   * A local path under which an engine can write the object; `publish` makes it durable and visible under the key.
   * On a local file system this is the final place itself.
   */
  stage(key: string): Promise<string>;
  publish(key: string): Promise<ObjectInfo>;
  /** CRC-32 of the object's bytes as they are stored now, eight hexadecimal digits. @throws OBJECT_NOT_FOUND */
  checksum(key: string): Promise<string>;
  /** A local path that holds the (immutable) object, fetched first where the store is remote. @throws OBJECT_NOT_FOUND */
  localPath(key: string): Promise<string>;
}

export interface ObjectInfo {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
}
