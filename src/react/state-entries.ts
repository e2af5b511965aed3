/**
 * Entries of keyed state on their way to and from a checkpoint. A block holds entries of one state:
 *
 *     length of the name u16 | name of operator and state, as "spend/by_card"
 *     each entry: bytes of the key u32 | bytes of the value u32, or 0xffffffff: the key was deleted | set at f64, ms since 1970 | key | value
 *
 * Numbers are little-endian, texts UTF-8.
 */
const ENTRY_BYTES = 16;
const DELETED = 0xffff_ffff;

/** Collects entries of one state and hands blocks over as they are full. */
export class EntryWriter {
  readonly #name: Buffer;
  readonly #blockBytes: number;
  readonly #full: (block: Uint8Array<ArrayBuffer>) => void;
  #block: Buffer<ArrayBuffer> | undefined;
  #used = 0;

  constructor(name: string, blockBytes: number, full: (block: Uint8Array<ArrayBuffer>) => void) {
    this.#name = Buffer.from(name, "utf8");
    this.#blockBytes = blockBytes;
    this.#full = full;
  }

  readonly add = (key: string, setAtMs: number, value: Uint8Array | undefined): void => {
    const most = ENTRY_BYTES + key.length * 3 + (value?.length ?? 0);
    if (this.#block && this.#used + most > this.#block.length) this.end();
    const block = this.#block ?? this.#begin(most);
    const keyBytes = block.write(key, this.#used + ENTRY_BYTES, "utf8");
    block.writeUInt32LE(keyBytes, this.#used);
    block.writeUInt32LE(value?.length ?? DELETED, this.#used + 4);
    block.writeDoubleLE(setAtMs, this.#used + 8);
    this.#used += ENTRY_BYTES + keyBytes;
    if (value) {
      block.set(value, this.#used);
      this.#used += value.length;
    }
  };

  /** Hands over what there is. */
  end(): void {
    if (!this.#block) return;
    const block = new Uint8Array(this.#block.buffer, 0, this.#used);
    this.#block = undefined;
    this.#full(block);
  }

  #begin(least: number): Buffer<ArrayBuffer> {
    const name = this.#name;
    const block = Buffer.from(new ArrayBuffer(Math.max(this.#blockBytes, 2 + name.length + least)));
    block.writeUInt16LE(name.length, 0);
    block.set(name, 2);
    this.#used = 2 + name.length;
    this.#block = block;
    return block;
  }
}

/** The state a block is of. */
export function stateOfBlock(bytes: Uint8Array): { readonly name: string; readonly entriesAt: number } {
  const block = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const entriesAt = 2 + block.readUInt16LE(0);
  return { name: block.toString("utf8", 2, entriesAt), entriesAt };
}

/** Gives every entry of a block. Values are parts of the block's memory. */
export function readEntries(
  bytes: Uint8Array,
  take: (key: string, setAtMs: number, value: Uint8Array | undefined) => void,
): void {
  const block = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = stateOfBlock(bytes).entriesAt; at < block.length; ) {
    const keyBytes = block.readUInt32LE(at);
    const valueBytes = block.readUInt32LE(at + 4);
    const setAtMs = block.readDoubleLE(at + 8);
    const keyAt = at + ENTRY_BYTES;
    const valueAt = keyAt + keyBytes;
    at = valueAt + (valueBytes === DELETED ? 0 : valueBytes);
    take(
      block.toString("utf8", keyAt, valueAt),
      setAtMs,
      valueBytes === DELETED ? undefined : block.subarray(valueAt, at),
    );
  }
}
