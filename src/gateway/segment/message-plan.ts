/**
 * What the quick scanner follows in a message of any Segment source (their contracts are one), and what it must have seen there for the
 * message to keep the rules that the plan has no words for. Whatever it is not sure of goes the exact way.
 */
import type { Stream } from "../../define/project.ts";
import type { KeyPlan, ObjectPlan, ValuePlan } from "../quick-plan.ts";
import { quickPlan } from "../quick-plan.ts";
import { seenInLastScan } from "../quick-scanner.ts";

/** What a message lacks that its batch may say. */
export const LACKS_SENT_AT = 1;
export const LACKS_CONTEXT = 2;
export const LACKS_INTEGRATIONS = 4;

const NULL = 0x6e;
const OPEN_OBJECT = 0x7b;

export class MessagePlan {
  readonly value: ValuePlan;
  readonly messageId: KeyPlan;
  readonly #keys: Readonly<Record<string, KeyPlan>>;

  private constructor(value: ValuePlan) {
    const { keys } = value.object as ObjectPlan;
    this.value = value;
    this.#keys = Object.fromEntries(keys.map((key) => [key.name, key]));
    this.messageId = this.#keys.messageId as KeyPlan;
  }

  /** Undefined when every message must go the exact way. */
  static of({ jsonSchema, columns }: Stream, maxNesting: number): MessagePlan | undefined {
    const { allOf: _rules, ...schema } = jsonSchema;
    const properties = { ...(schema.properties as object), writeKey: {} };
    const value = quickPlan({ jsonSchema: { ...schema, properties }, columns }, maxNesting);
    return value === undefined ? undefined : new MessagePlan(value);
  }

  /**
   * What the message lacks that the quick scanner let through last, as a sum of the constants above; -1 when it breaks a rule, or when
   * something of it must go.
   */
  lacks(bytes: Buffer): number {
    const keys = this.#keys as Record<string, KeyPlan>;
    if (seenInLastScan(keys.writeKey!) || seenInLastScan(keys.planViolation!)) return -1;
    const has = (key: KeyPlan) => seenInLastScan(key) && bytes[key.valueStart] !== NULL;
    const fits = (key: KeyPlan) =>
      !seenInLastScan(key) || bytes[key.valueStart] === OPEN_OBJECT || bytes[key.valueStart] === NULL;
    if (!fits(keys.context!) || !fits(keys.properties!) || !fits(keys.traits!) || !fits(keys.integrations!)) return -1;
    const known = has(keys.userId!) || has(keys.anonymousId!);
    switch (bytes[keys.type!.valueStart + 1]) {
      case 0x74: // track
        if (!known || !has(keys.event!)) return -1;
        break;
      case 0x67: // group
        if (!known || !has(keys.groupId!)) return -1;
        break;
      case 0x61: // alias
        if (!has(keys.userId!) || !has(keys.previousId!)) return -1;
        break;
      default:
        if (!known) return -1;
    }
    let lacking = 0;
    for (const [name, bit] of OF_BATCH) {
      const key = keys[name]!;
      if (has(key)) continue;
      if (seenInLastScan(key)) return -1; // null: it would stand twice
      lacking += bit;
    }
    return lacking;
  }
}

const OF_BATCH = [
  ["sentAt", LACKS_SENT_AT],
  ["context", LACKS_CONTEXT],
  ["integrations", LACKS_INTEGRATIONS],
] as const;
