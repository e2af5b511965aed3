/**
 * Says where in a run an id could be, without reading the run.
 *
 * Records whose hashes begin with the same B bits are one bucket; `directory` gives each bucket's first record. The
 * fingerprint of a record is the 16 bits of its hash after those B. An id that is not there meets its fingerprint in a
 * bucket of 17 to 34 records once in some 2,500 times; what it meets names the very record to read, so that one read of 32
 * bytes settles it. The cost is 17 to 18 bits a record, all in the order of the hash: a look-up whose ids are sorted
 * walks through memory from front to back.
 */
export class RunFilter {
  readonly bits: number;
  readonly fingerprints: Uint16Array<ArrayBuffer>;
  readonly directory: Uint32Array<ArrayBuffer>;
  readonly #block = {
    from: new Uint32Array(BLOCK),
    to: new Uint32Array(BLOCK),
    guess: new Uint32Array(BLOCK),
    print: new Uint16Array(BLOCK),
    near: new Uint16Array(BLOCK),
  };
  #count = 0;
  #bucket = 0;

  constructor(bits: number, fingerprints: Uint16Array<ArrayBuffer>, directory: Uint32Array<ArrayBuffer>) {
    this.bits = bits;
    this.fingerprints = fingerprints;
    this.directory = directory;
  }

  /** A filter with room for so many records. */
  static sized(bits: number, capacity: number): RunFilter {
    return new RunFilter(bits, new Uint16Array(capacity), new Uint32Array(2 ** bits + 1));
  }

  /** An empty filter for at most so many records. */
  static forRecords(capacity: number): RunFilter {
    return RunFilter.sized(Math.min(28, Math.max(1, Math.round(Math.log2(capacity / BUCKET_SIZE)))), capacity);
  }

  get memoryBytes(): number {
    return this.fingerprints.buffer.byteLength + this.directory.byteLength;
  }

  /** Adds the next record, given the first two words of its hash; hashes must ascend. */
  add(word0: number, word1: number): void {
    const bucket = word0 >>> (32 - this.bits);
    while (this.#bucket < bucket) this.directory[++this.#bucket] = this.#count;
    this.fingerprints[this.#count++] = this.#fingerprint(word0, word1);
  }

  /** The filter when every record has been added; gives room back when many records never came. */
  finished(): RunFilter {
    this.directory.fill(this.#count, this.#bucket + 1);
    const wasteful = this.#count < this.fingerprints.length * 0.9;
    const fingerprints = wasteful
      ? this.fingerprints.slice(0, this.#count)
      : this.fingerprints.subarray(0, this.#count);
    return new RunFilter(this.bits, fingerprints, this.directory);
  }

  /**
   * For ids given by the first two words of their hashes: appends to `which` the position of each that could be in the
   * run, and to `where` the record it would be. Both ascend when the ids do.
   */
  candidates(word0: Uint32Array, word1: Uint32Array, which: number[], where: number[]): void {
    const { fingerprints } = this;
    const { from, to, guess, print, near } = this.#block;
    for (let first = 0; first < word0.length; first += BLOCK) {
      const count = Math.min(BLOCK, word0.length - first);
      for (let i = 0; i < count; i++) {
        const word = word0[first + i] as number;
        const bucket = word >>> (32 - this.bits);
        const start = this.directory[bucket] as number;
        const end = this.directory[bucket + 1] as number;
        print[i] = this.#fingerprint(word, word1[first + i] as number);
        from[i] = start;
        to[i] = end;
        // Fingerprints ascend within a bucket and are spread evenly: this is where this one should be.
        guess[i] = start + (((print[i] as number) * (end - start)) >>> 16);
      }
      // These reads miss the cache, and do so side by side because none depends on another.
      for (let i = 0; i < count; i++) near[i] = fingerprints[guess[i] as number] as number;
      for (let i = 0; i < count; i++) {
        const wanted = print[i] as number;
        const start = from[i] as number;
        const end = to[i] as number;
        let at = guess[i] as number;
        while (at > start && (fingerprints[at - 1] as number) >= wanted) at--;
        while (at < end && (fingerprints[at] as number) < wanted) at++;
        for (; at < end && fingerprints[at] === wanted; at++) {
          which.push(first + i);
          where.push(at);
        }
      }
    }
  }

  /** Whether two hashes have the same bucket and fingerprint. */
  confuses(a0: number, a1: number, b0: number, b1: number): boolean {
    const shift = 32 - this.bits;
    return a0 >>> shift === b0 >>> shift && this.#fingerprint(a0, a1) === this.#fingerprint(b0, b1);
  }

  #fingerprint(word0: number, word1: number): number {
    const bits = this.bits;
    if (bits <= 16) return (word0 >>> (16 - bits)) & 0xffff;
    return ((word0 << (bits - 16)) | (word1 >>> (48 - bits))) & 0xffff;
  }
}

/** Larger buckets save directory and cost false candidates; the time of a look-up is the same from 8 to 32. */
const BUCKET_SIZE = 24;
/** Ids looked for together: enough for the memory to be busy, few enough to stay in the nearest cache. */
const BLOCK = 64;
