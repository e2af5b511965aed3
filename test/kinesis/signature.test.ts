import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ListStreamsCommand } from "@aws-sdk/client-kinesis";
import type { Answer } from "../gateway/open-door.ts";
import { orders } from "../gateway/orders.ts";
import { OpenKinesis, REGION, SECRET } from "./open-kinesis.ts";
import { JSON_TYPE, presignedQuery, type Signing, signedHeaders } from "./sign.ts";

let kinesis: OpenKinesis;
const MINUTE_MS = 60_000;
const RECORD = { StreamName: "orders", Data: btoa('{"id":"x","n":1}'), PartitionKey: "k" };

before(async () => {
  kinesis = await OpenKinesis.open({ streams: [orders] });
});
after(() => kinesis[Symbol.asyncDispose]());

/** Answered as AWS refuses, and nothing is stored or recorded. */
function refused(answer: Answer, type: string, message: RegExp | string, status = 400): void {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.json.__type, type, answer.text);
  if (typeof message === "string") assert.equal(answer.json.message, message);
  else assert.match(answer.json.message, message);
  assert.equal(answer.headers["content-type"], JSON_TYPE);
  assert.match(String(answer.headers["x-amzn-requestid"]), /^[0-9a-f-]{36}$/);
  assert.equal(kinesis.door.log.ends("orders", 0).end, 0);
  assert.deepEqual(kinesis.door.deadLetters, []);
}

const put = (signing: Signing = {}) => kinesis.call("PutRecord", RECORD, signing);

describe("a signature", () => {
  it("that fits is taken, over any region and with spaces in headers and parameters in the query", async () => {
    for (const signing of [
      {},
      { region: "us-east-1" },
      { headers: { "x-amz-user-agent": "  a   b " } },
      { query: "a=1&b=%20" },
      { atMs: Date.now() - 14 * MINUTE_MS },
      { atMs: Date.now() + 14 * MINUTE_MS },
      { unsigned: ["content-type"] },
    ] satisfies Signing[]) {
      const answer = await kinesis.call("ListStreams", {}, signing);
      assert.deepEqual([answer.status, answer.json.StreamNames], [200, ["orders"]], answer.text);
    }
  });

  it("by another secret is refused", async () => {
    refused(
      await put({ secret: "another" }),
      "InvalidSignatureException",
      /^The request signature we calculated does not match/,
    );
  });

  it("over another body, operation, host or query is refused", async () => {
    const host = `127.0.0.1:${kinesis.door.port}`;
    const body = JSON.stringify(RECORD);
    const signed = signedHeaders("PutRecord", body, host);
    const tampered: [Record<string, string>, string, string][] = [
      [signed, "/", body.replace('"k"', '"j"')],
      [{ ...signed, "x-amz-target": "Kinesis_20131202.GetRecords" }, "/", body],
      [{ ...signed, host: "elsewhere.example" }, "/", body],
      [
        { ...signed, "x-amz-date": signed["x-amz-date"]!.replace(/\dZ$/, (last) => (last === "0Z" ? "1Z" : "0Z")) },
        "/",
        body,
      ],
      [signed, "/?x=1", body],
      [
        { ...signed, authorization: signed["authorization"]!.replace(/.$/, (last) => (last === "0" ? "1" : "0")) },
        "/",
        body,
      ],
      [{ ...signed, authorization: signed["authorization"]!.replace(/Signature=.*/, "Signature=zz") }, "/", body],
    ];
    for (const [headers, path, sent] of tampered) {
      const answer = await kinesis.door.call("POST", path, { key: "", headers, body: sent });
      refused(answer, "InvalidSignatureException", /does not match/);
    }
  });

  it("that leaves out the host or the operation is refused, whatever it is worth", async () => {
    refused(
      await put({ unsigned: ["host"] }),
      "InvalidSignatureException",
      /'Host' or ':authority' must be a 'SignedHeader'/,
    );
    refused(
      await put({ unsigned: ["x-amz-target"] }),
      "InvalidSignatureException",
      /'x-amz-target' must be a 'SignedHeader'/,
    );
  });

  it("older or younger than 15 minutes is refused with both times", async () => {
    const now = Date.now();
    refused(
      await put({ atMs: now - 16 * MINUTE_MS }),
      "InvalidSignatureException",
      /^Signature expired: \d{8}T\d{6}Z is now earlier than .* - 15 min\.\)$/,
    );
    refused(
      await put({ atMs: now + 16 * MINUTE_MS }),
      "InvalidSignatureException",
      /^Signature not yet current: .* \+ 15 min\.\)$/,
    );
  });

  it("for another service, or with a scope that is none, is refused", async () => {
    refused(await put({ service: "dynamodb" }), "InvalidSignatureException", /correct service: 'kinesis'/);
    refused(await put({ region: "" }), "InvalidSignatureException", /valid region/);
    refused(await put({ region: "a/b" }), "IncompleteSignatureException", /5 slash-delimited elements/);
  });

  it("by an access key that nobody has is refused", async () => {
    refused(
      await put({ accessKeyId: "NOBODY" }),
      "UnrecognizedClientException",
      "The security token included in the request is invalid.",
    );
  });

  it("with a session token is refused with what to do", async () => {
    refused(
      await put({ headers: { "x-amz-security-token": "t" } }),
      "UnrecognizedClientException",
      /unset AWS_SESSION_TOKEN/,
    );
  });

  it("that is missing, cut or another scheme's is refused by name", async () => {
    const host = `127.0.0.1:${kinesis.door.port}`;
    const body = JSON.stringify(RECORD);
    const good = signedHeaders("PutRecord", body, host);
    const cases: [string | undefined, string, RegExp][] = [
      [undefined, "MissingAuthenticationTokenException", /^Missing Authentication Token$/],
      ["Bearer admin-key", "IncompleteSignatureException", /Unsupported AWS 'algorithm': 'Bearer'/],
      [
        "AWS4-HMAC-SHA256 Credential=ADMIN",
        "IncompleteSignatureException",
        /'Signature' parameter.*'SignedHeaders' parameter/,
      ],
      ["AWS4-HMAC-SHA256 ", "IncompleteSignatureException", /'Credential' parameter/],
    ];
    for (const [authorization, type, message] of cases) {
      const { authorization: _, ...others } = good;
      const headers = authorization === undefined ? others : { ...others, authorization };
      refused(await kinesis.door.call("POST", "/", { key: "", headers, body }), type, message);
    }
    const { "x-amz-date": _, ...undated } = good;
    refused(
      await kinesis.door.call("POST", "/", { key: "", headers: undated, body }),
      "IncompleteSignatureException",
      /'X-Amz-Date' or a 'Date' header/,
    );
    const bad = { ...good, "x-amz-date": "2026-01-01" };
    refused(
      await kinesis.door.call("POST", "/", { key: "", headers: bad, body }),
      "IncompleteSignatureException",
      /ISO-8601 'basic format'/,
    );
  });
});

describe("a request signed beforehand", () => {
  const body = "{}";
  const target = { "content-type": JSON_TYPE, "x-amz-target": "Kinesis_20131202.ListStreams" };
  const call = (query: string, headers: Record<string, string> = target) =>
    kinesis.door.call("POST", `/?${query}`, { key: "", headers, body });

  it("is taken while it is valid, and not later", async () => {
    const host = `127.0.0.1:${kinesis.door.port}`;
    const hourAgo = Date.now() - 60 * MINUTE_MS;
    assert.equal((await call(presignedQuery("ListStreams", body, host, 60))).status, 200);
    assert.equal((await call(presignedQuery("ListStreams", body, host, 7200, { atMs: hourAgo }))).status, 200);
    refused(
      await call(presignedQuery("ListStreams", body, host, 60, { atMs: hourAgo })),
      "InvalidSignatureException",
      /Signature expired.*60 s\)/,
    );
  });

  it("is refused when a parameter was changed, is missing, or the header signs as well", async () => {
    const host = `127.0.0.1:${kinesis.door.port}`;
    const query = presignedQuery("ListStreams", body, host, 60);
    refused(await call(query.replace("Expires=60", "Expires=61")), "InvalidSignatureException", /does not match/);
    refused(
      await call(query.replace(/&X-Amz-Signature=.*/, "")),
      "IncompleteSignatureException",
      /must include 'Signature' parameter/,
    );
    refused(
      await call(query.replace("Expires=60", "Expires=999999999")),
      "IncompleteSignatureException",
      /X-Amz-Expires/,
    );
    refused(
      await call(query, { ...target, authorization: "AWS4-HMAC-SHA256 x" }),
      "InvalidSignatureException",
      /Found both/,
    );
    refused(
      await call(query, { "content-type": JSON_TYPE, "x-amz-target": "Kinesis_20131202.GetRecords" }),
      "InvalidSignatureException",
      /does not match/,
    );
  });
});

describe("AWS's own signer", () => {
  it("is understood with every character that a secret and a name may have", async () => {
    const { StreamNames } = await kinesis.client("QUERY", { region: REGION }).send(new ListStreamsCommand({}));
    assert.deepEqual(StreamNames, ["orders"]);
    await assert.rejects(
      kinesis
        .client("QUERY", { credentials: { accessKeyId: "QUERY", secretAccessKey: `${SECRET}x` } })
        .send(new ListStreamsCommand({})),
      { name: "InvalidSignatureException" },
    );
  });
});
