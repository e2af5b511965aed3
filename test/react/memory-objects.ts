/** An object store in memory, whose writes a test may let fail in both ways: nothing was written, or all of it and nobody was told. */
import { MillraceError } from "../../src/errors.ts";
import type { ObjectInfo } from "../../src/lake/object-store.ts";

export class MemoryObjects {
  readonly objects = new Map<string, Uint8Array>();
  /** Told before each write: `lost` and `kept` let it fail. */
  fate: (key: string) => "lost" | "kept" | undefined = () => undefined;
  /** Requests by kind. */
  readonly requests = { get: 0, putIfAbsent: 0, list: 0, delete: 0 };

  async get(key: string): Promise<Uint8Array> {
    this.requests.get++;
    const bytes = this.objects.get(key);
    if (!bytes) throw new MillraceError("OBJECT_NOT_FOUND", { key });
    return bytes;
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    this.requests.putIfAbsent++;
    const fate = this.fate(key);
    const before = this.objects.get(key);
    if (fate !== "lost" && !before) this.objects.set(key, Uint8Array.from(bytes));
    if (fate) throw new MillraceError("LAKE_UNAVAILABLE", { operation: "write", key, reason: `${fate} by the test` });
    return !before || Buffer.from(before).equals(bytes);
  }

  async list(prefix: string, { after }: { after?: string } = {}): Promise<ObjectInfo[]> {
    this.requests.list++;
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && (!after || key > after)).sort();
    return keys.map((key) => ({ key, sizeBytes: this.objects.get(key)?.length ?? 0, modifiedAtMs: 0 }));
  }

  async delete(key: string): Promise<void> {
    this.requests.delete++;
    this.objects.delete(key);
  }

  /** The bytes of an object, to be changed by the test. */
  damage(key: string, change: (bytes: Buffer) => Buffer): void {
    this.objects.set(key, change(Buffer.from(this.objects.get(key) ?? [])));
  }
}
