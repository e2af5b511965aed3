/**
 * The two forms in which Kinesis is spoken: JSON (`application/x-amz-json-1.1`; bytes as base64, moments as seconds) and CBOR
 * (`application/x-amz-cbor-1.1`, which the SDK for Java prefers; bytes as such, moments as milliseconds with tag 1).
 *
 * Values to encode hold bytes as `Uint8Array` and moments as `Date`.
 */
import { decode, encode, Token, Type } from "cborg";
import { AwsError, serialization } from "./aws-error.ts";

export interface Codec {
  readonly contentType: string;
  /** @throws AwsError SerializationException */
  decode(body: Buffer): unknown;
  encode(value: object): string | Buffer;
  /** The same for a value that holds neither bytes nor moments. */
  encodePlain(value: object): string | Buffer;
}

const JSON_TYPE = "application/x-amz-json-1.1";
const CBOR_TYPE = "application/x-amz-cbor-1.1";

export const jsonCodec: Codec = {
  contentType: JSON_TYPE,
  decode(body) {
    if (body.length === 0) return {};
    try {
      return JSON.parse(body.toString("utf8"));
    } catch (error) {
      throw serialization(`The body is no JSON: ${(error as Error).message}`);
    }
  },
  encode: (value) => JSON.stringify(jsonReady(value)),
  encodePlain: (value) => JSON.stringify(value),
};

export const cborCodec: Codec = {
  contentType: CBOR_TYPE,
  decode(body) {
    if (body.length === 0) return {};
    try {
      return decode(body, DECODING);
    } catch (error) {
      throw serialization(`The body is no CBOR: ${(error as Error).message}`);
    }
  },
  encode: encodeCbor,
  encodePlain: encodeCbor,
};

/** @throws AwsError when it is neither of the two */
export function codecOf(contentType: string | undefined): Codec {
  const type = (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase();
  if (type === JSON_TYPE || type === "application/json") return jsonCodec;
  if (type === CBOR_TYPE) return cborCodec;
  const got = contentType === undefined ? "none" : `'${contentType.slice(0, 100)}'`;
  throw new AwsError("UnknownOperationException", `The Content-Type must be ${JSON_TYPE} or ${CBOR_TYPE}, got ${got}.`);
}

const DECODING = {
  // Nobody of the few who write these keeps to the canonical form.
  strict: false,
  useMaps: false,
  rejectDuplicateMapKeys: true,
  tags: Object.assign([], {
    1: (content: () => unknown) => {
      const ms = content();
      return typeof ms === "number" || typeof ms === "bigint" ? new Date(Number(ms)) : undefined;
    },
  }),
};

const ENCODING = {
  typeEncoders: {
    Date: (moment: Date) => [new Token(Type.tag, 1), new Token(Type.uint, moment.getTime())],
  },
};

function encodeCbor(value: object): Buffer {
  const bytes = encode(value, ENCODING);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function jsonReady(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
  if (value instanceof Date) return value.getTime() / 1000;
  if (Array.isArray(value)) return value.map(jsonReady);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, jsonReady(member)]));
}
