import assert from "node:assert/strict";
import type { IncomingHttpHeaders } from "node:http";
import { test } from "node:test";
import { credentials } from "../../src/gateway/credentials.ts";

const COOKIE = { cookie: "theme=dark; millrace_session=ms_secret; other=1", host: "millrace.example.com" };

test("an Authorization header counts before any cookie", () => {
  assert.equal(credentials({ ...COOKIE, authorization: "Bearer mk_1" }), "Bearer mk_1");
});

const OWN: readonly (readonly [string, IncomingHttpHeaders])[] = [
  ["the platform's own pages", { "sec-fetch-site": "same-origin" }],
  ["the address bar", { "sec-fetch-site": "none" }],
  ["a client that says nothing of where it is", {}],
  ["a browser of before, from the same origin", { origin: "https://millrace.example.com" }],
];
for (const [who, headers] of OWN) {
  test(`a session counts for ${who}`, () => {
    assert.equal(credentials({ ...COOKIE, ...headers }), "Bearer ms_secret");
  });
}

const FOREIGN: readonly (readonly [string, IncomingHttpHeaders])[] = [
  ["a page of another site", { "sec-fetch-site": "cross-site" }],
  ["a page of a neighbouring host", { "sec-fetch-site": "same-site" }],
  ["a page of another origin in a browser of before", { origin: "https://evil.example.com" }],
  ["a page without an origin", { origin: "null" }],
  ["whoever claims both", { "sec-fetch-site": "cross-site", origin: "https://millrace.example.com" }],
];
for (const [who, headers] of FOREIGN) {
  test(`a session does not count for ${who}`, () => {
    assert.equal(credentials({ ...COOKIE, ...headers }), undefined);
  });
}

test("without a session there are no credentials", () => {
  assert.equal(credentials({ cookie: "xmillrace_session=ms_secret", host: "h" }), undefined);
  assert.equal(credentials({}), undefined);
});
