/**
 * The two forms in which Kinesis is spoken: JSON (`application/x-amz-json-1.1`; bytes as base64, moments as seconds) and CBOR
 * (`application/x-amz-cbor-1.1`, which the SDK for Java prefers; bytes as such, moments as milliseconds with tag 1).
 */
import { decode, encode, Token, Type } from "cborg";
import { AwsError, serialization } from "./aws-error.ts";

export interface Codec {
  readonly contentType: string;
  /** @throws AwsError SerializationException */
  decode(body: Buffer): unknown;
  /** `value` holds bytes and moments as `blob` and `moment` give them. */
  encode(value: object): string | Buffer;
  blob(bytes: Buffer): unknown;
  /** Of milliseconds since the epoch. */
  moment(ms: number): unknown;
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
  encode: (value) => JSON.stringify(value),
  blob: (bytes) => bytes.toString("base64"),
  moment: (ms) => ms / 1000,
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
  encode(value) {
    const bytes = encode(value, ENCODING);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  },
  // A Buffer is another type to the encoder.
  blob: (bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length),
  moment: (ms) => new Date(ms),
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
