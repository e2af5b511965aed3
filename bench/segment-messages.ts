/**
 * Batches as Segment's library for servers sends them: track messages of 423 bytes, each a little different, with the time of sending in
 * the envelope.
 *
 * Every value keeps its width, so that a batch is the one before with some digits overwritten: making it costs a fraction of what is measured.
 */
export class SegmentMessages {
  readonly #batch: Buffer;
  readonly #count: number;
  readonly #sender: string;
  #made = 0;

  /** `sender` (0 to 255) tells apart the ids of makers that run side by side. */
  constructor(count: number, sender: number) {
    this.#count = count;
    this.#sender = sender.toString(16).padStart(2, "0");
    const messages = Array.from({ length: count }, () => MESSAGE).join(",");
    this.#batch = Buffer.from(`${HEAD}${messages}${TAIL}`);
  }

  /** The next batch. */
  batch(): Buffer {
    for (let at = HEAD.length; this.#made % this.#count !== 0 || at === HEAD.length; at += MESSAGE.length + 1) {
      const number = String(this.#made++).padStart(12, "0");
      this.#batch.write(`${this.#sender}-${number}`, at + ID_AT, "latin1");
      this.#batch.write(number.slice(7), at + USER_AT, "latin1");
    }
    return Buffer.copyBytesFrom(this.#batch);
  }
}

const MESSAGE =
  '{"userId":"user-00000","event":"Report Opened","properties":{"report":"hours by project","project_id":"p-4711","rows":1284,' +
  '"duration_ms":317.25,"cached":false},"timestamp":"2026-01-05T08:00:00.042Z","type":"track",' +
  '"messageId":"node-next-1767600000042-00-000000000000-9f3c","context":{"library":{"name":"@segment/analytics-node","version":"3.1.0"}},' +
  '"_metadata":{"nodeVersion":"24.21.0","jsRuntime":"node"},"integrations":{}}';
const HEAD = '{"batch":[';
const TAIL = '],"writeKey":"","sentAt":"2026-01-05T08:00:01.337Z"}';
const ID_AT = MESSAGE.indexOf("00-000000000000");
const USER_AT = MESSAGE.indexOf("00000");

export const MESSAGE_BYTES = MESSAGE.length;
