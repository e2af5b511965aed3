import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { smtp } from "../../src/define/destinations.ts";
import { readDestination } from "../../src/define/read-destination.ts";
import { type OutsideDestination, openSender } from "../../src/react/deliver/open-sender.ts";
import { type Change, DeliveryFailure, type Sender } from "../../src/react/deliver/sender.ts";
import { change } from "./changes.ts";
import { CERTIFICATE } from "./mail-certificate.ts";
import { MailServer } from "./mail-server.ts";

const never = new AbortController().signal;
const LOGIN = { user: "alerts", password: "the password" };

function open(port: number, options: object = {}): Promise<Sender> {
  const given = {
    host: "127.0.0.1",
    port,
    from: "Millrace <alerts@example.com>",
    to: "ops@example.com",
    ca: CERTIFICATE,
    timeout: "5s",
  };
  const read = readDestination(smtp("mail", { ...given, ...options }), "ops.ts");
  if (!("kind" in read)) assert.fail(JSON.stringify(read));
  return openSender(read as OutsideDestination, { env: {}, clock: Date.now });
}

async function failure(sender: Sender, changes: Change[] = [change(1)]): Promise<[string, string]> {
  try {
    await sender.send(changes, never);
  } catch (error) {
    if (error instanceof DeliveryFailure) return [error.verdict, error.message];
    throw error;
  }
  assert.fail("it was taken");
}

test("a mail goes out encrypted and by its user, with an id that each attempt has", async () => {
  for (const implicitTls of [false, true]) {
    await using server = await MailServer.start({ implicitTls });
    const sender = await open(server.port, {
      ...LOGIN,
      tls: implicitTls ? "implicit" : "starttls",
      to: ["ops@example.com", "Lea <lea@example.com>"],
    });
    assert.equal(sender.address, `smtp://127.0.0.1:${server.port}`);
    await sender.send([change(1, { summary: "Motor überhitzt\r\nBcc: everybody@example.com" })], never);
    await sender.send([change(1, { state: "resolved" })], never);
    await sender.send([change(1, { state: "resolved" })], never);
    const [mail, resolved, again] = server.mails;
    assert.deepEqual(
      [mail?.from, mail?.to, mail?.secure, mail?.user],
      ["alerts@example.com", ["ops@example.com", "lea@example.com"], true, "alerts"],
    );
    const header = (name: string, text = "") =>
      new RegExp(`^${name}: ((?:.|\\r\\n[ \\t])*)`, "m").exec(text.split("\r\n\r\n")[0]!)?.[1];
    assert.equal(header("Bcc", mail?.text), undefined);
    assert.match(
      String(header("Subject", resolved?.text)).replaceAll(/\r\n\s*/g, " "),
      /^\[resolved\] critical: overheat: engine_temp is 131, above 120$/,
    );
    assert.equal(header("Auto-Submitted", mail?.text), "auto-generated");
    assert.match(String(resolved?.text), /State: {4}resolved\r\n.*About: {4}truck-7\r\n/s);
    assert.equal(header("Message-ID", resolved?.text), header("Message-ID", again?.text));
    assert.notEqual(header("Message-ID", resolved?.text), header("Message-ID", mail?.text));
    assert.equal(header("References", resolved?.text), header("References", mail?.text));
    sender.close?.();
  }
});

test("several alerts are one mail", async () => {
  await using server = await MailServer.start();
  const sender = await open(server.port, LOGIN);
  await sender.send(
    [change(1), change(2, { key: "truck-8" }), change(3, { key: "truck-9", state: "resolved" })],
    never,
  );
  assert.equal(server.mails.length, 1);
  assert.match(server.mails[0]!.text, /Subject: \[firing\] critical: overheat, and 2 more/);
  assert.match(server.mails[0]!.text, /truck-7.*truck-8.*truck-9/s);
});

test("a reply of 5xx is final, one of 4xx is not, and a server that is not there or not who it should be is down", async () => {
  const codes: (number | undefined)[] = [550, 450, 421, 554, 452];
  await using server = await MailServer.start({ refuseData: () => codes.shift() });
  const sender = await open(server.port, LOGIN);
  const verdicts: string[] = [];
  for (let i = 0; i < 5; i++) verdicts.push((await failure(sender))[0]);
  assert.deepEqual(verdicts, ["refused", "failed", "down", "refused", "failed"]);
  await sender.send([change(1)], never);
  const [verdict, reason] = await failure(await open(server.port, { ...LOGIN, password: "another password" }));
  assert.deepEqual([verdict, reason.includes("another password")], ["refused", false]);
  assert.match(reason, /535/);
  const strangers = await failure(await open(server.port, { ...LOGIN, ca: undefined }));
  assert.deepEqual([strangers[0], /self.signed/.test(strangers[1])], ["down", true]);
  assert.equal((await failure(await open(1)))[0], "down");
  assert.equal(server.mails.length, 1);
});

test("a server that offers no encryption gets neither mail nor password, unless the definition says so", async () => {
  await using server = await MailServer.start({ withoutTls: true });
  assert.equal((await failure(await open(server.port, LOGIN)))[0], "refused");
  assert.equal(server.mails.length, 0);
  await (await open(server.port, { tls: "none" })).send([change(1)], never);
  assert.equal(server.mails[0]?.secure, false);
});

test("where some recipients are refused, the others get the mail once, however often it is tried", async () => {
  let refusing = true;
  await using server = await MailServer.start({
    refuse: (to) => (refusing && to === "away@example.com" ? 450 : undefined),
  });
  const sender = await open(server.port, { ...LOGIN, to: ["ops@example.com", "away@example.com"] });
  assert.equal((await failure(sender))[0], "failed");
  assert.equal((await failure(sender))[0], "failed");
  refusing = false;
  await sender.send([change(1)], never);
  assert.deepEqual(
    server.mails.map(({ to }) => to),
    [["ops@example.com"], ["away@example.com"]],
  );
});

test("a server that says nothing holds an attempt up no longer than its timeout", async () => {
  const silent = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  const [verdict] = await failure(await open(port, { timeout: "200ms" }));
  assert.equal(verdict, "down");
  silent.close();
});
