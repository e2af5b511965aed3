import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { resolveSettings } from "../../src/config/settings.ts";
import { connectSettings } from "../../src/platform/kafka-log.ts";
import { temporaryFolder } from "../flow/open-flow.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";

function given(flags: Record<string, unknown>) {
  return connectSettings(resolveSettings({ flags: { kafkaBrokers: "a:1", ...flags }, cwd: "/" }).settings, "test");
}

test("brokers, user and certificates are as the settings say", async () => {
  await using dir = await temporaryFolder();
  const [ca, cert, key] = await Promise.all(
    ["ca", "cert", "key"].map(async (name) => {
      const path = join(dir.path, `${name}.pem`);
      await writeFile(path, `${name}\n${PEM}`);
      return path;
    }),
  );
  assert.deepEqual(await given({ kafkaBrokers: "kafka-1, kafka-2:9093,[::1]:9094" }), {
    ...{ brokers: ["kafka-1", "kafka-2:9093", "[::1]:9094"], clientId: "test", sasl: undefined, tls: undefined },
  });
  const secured = await given({
    ...{ kafkaTls: "on", kafkaTlsCa: ca, kafkaTlsCert: cert, kafkaTlsKey: key },
    ...{ kafkaUser: "shop", kafkaPassword: "secret" },
  });
  assert.deepEqual(secured.sasl, { mechanism: "SCRAM-SHA-512", username: "shop", password: "secret" });
  assert.deepEqual(secured.tls, { ca: `ca\n${PEM}`, cert: `cert\n${PEM}`, key: `key\n${PEM}` });
  assert.deepEqual((await given({ kafkaTls: "on" })).tls, { ca: undefined, cert: undefined, key: undefined });
  assert.equal((await given({ kafkaUser: "u", kafkaPassword: "p", kafkaSasl: "plain" })).sasl?.mechanism, "PLAIN");
});

test("settings that do not fit together are refused by name", async () => {
  await using dir = await temporaryFolder();
  const text = join(dir.path, "text.pem");
  await writeFile(text, "no certificate");
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ kafkaBrokers: "kafka-1:9092,,kafka-2" }, /kafkaBrokers .* HOST:PORT.*""/],
    [{ kafkaBrokers: "http://kafka-1:9092" }, /kafkaBrokers .*http:/],
    [{ kafkaUser: "shop" }, /kafkaPassword .* with kafkaUser/],
    [{ kafkaTlsCa: text }, /kafkaTls .* on, with kafkaTlsCa; got off/],
    [{ kafkaTls: "on", kafkaTlsCa: text }, /kafkaTlsCa .* PEM/],
    [{ kafkaTls: "on", kafkaTlsCa: join(dir.path, "none") }, /kafkaTlsCa .* can be read; got .*ENOENT/],
    [{ kafkaTls: "on", kafkaTlsCert: text }, /kafkaTlsKey .* other of the two/],
  ];
  for (const [flags, message] of wrong)
    await assert.rejects(given(flags), (error: Error & { code?: string }) => {
      assert.equal(error.code, "SETTING_INVALID");
      assert.match(error.message, message);
      return true;
    });
});
