/**
 * PutRecords of telemetry events, signed ahead: what is measured is the door, and a signer would take its time from the same machine.
 * The requests of a pool are sent again and again, so their events come again too; the door does not look for duplicates.
 */
import { createHmac, hash } from "node:crypto";
import type { TelemetryEvents } from "./telemetry.ts";
import { EVENT_BYTES } from "./telemetry.ts";

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** As AWS's SDKs write it: data in base64, the vehicle as partition key. */
export function putRecordsBody(events: TelemetryEvents, count: number): Buffer {
  const records = Array.from({ length: count }, () => {
    const event = events.one();
    const vehicle = (JSON.parse(event.toString("latin1")) as { vehicle_id: string }).vehicle_id;
    return `{"Data":"${event.toString("base64")}","PartitionKey":"${vehicle}"}`;
  });
  return Buffer.from(`{"Records":[${records.join(",")}],"StreamName":"telemetry"}`, "latin1");
}

export const RECORD_BYTES = EVENT_BYTES;

/** The whole request, head and body, as it goes over the wire. */
export function signedPutRecords(body: Buffer, host: string, key: AccessKey, nowMs: number): Buffer {
  const time = `${new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  const scope = `${time.slice(0, 8)}/eu-central-1/kinesis/aws4_request`;
  const signed = "content-type;host;x-amz-date;x-amz-target";
  const type = "application/x-amz-json-1.1";
  const target = "Kinesis_20131202.PutRecords";
  const headers = `content-type:${type}\nhost:${host}\nx-amz-date:${time}\nx-amz-target:${target}\n`;
  const canonical = `POST\n/\n\n${headers}\n${signed}\n${hash("sha256", body, "hex")}`;
  const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${hash("sha256", canonical, "hex")}`;
  let signingKey: Buffer | string = `AWS4${key.secretAccessKey}`;
  for (const part of scope.split("/")) signingKey = createHmac("sha256", signingKey).update(part).digest();
  const signature = createHmac("sha256", signingKey).update(text).digest("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=${key.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
  const head =
    `POST / HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${authorization}\r\nX-Amz-Date: ${time}\r\nX-Amz-Target: ${target}\r\n` +
    `Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}
