import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { type AlertRoute, readAlertRoutes, routeOf } from "../../src/define/alert-routes.ts";
import type { Definition } from "../../src/define/definition.ts";
import { opsgenie, pagerduty, slack, smtp, toStream, webhook } from "../../src/define/destinations.ts";
import type { Problem } from "../../src/define/problem.ts";
import { type Destination, readDestination, signingKey } from "../../src/define/read-destination.ts";
import { env } from "../../src/define/secret.ts";

function read(definition: Definition): Destination {
  const destination = readDestination(definition, "ops.ts");
  if (!("kind" in destination)) assert.fail(JSON.stringify(destination));
  return destination;
}

function problems(definition: Definition): string[] {
  const found = readDestination(definition, "ops.ts");
  if ("kind" in found) assert.fail("it was taken");
  return found.map(({ code, message }) => `${code}: ${message}`);
}

test("what is not said has its default", () => {
  const ops = read(webhook("ops", { url: "https://example.com/hook" }));
  assert.deepEqual([ops.giveUpAfterMs, ops.timeoutMs, ops.rate], [86_400_000, 10_000, undefined]);
  const team = read(slack("team", { url: env("SLACK_URL"), giveUpAfter: "2h", timeout: "3s" }));
  assert.deepEqual([team.giveUpAfterMs, team.timeoutMs, team.rate], [7_200_000, 3000, { most: 1, perMs: 1000 }]);
  const mail = (options: object) =>
    read(smtp("mail", { host: "mail.example.com", from: "a@b.c", to: "d@e.f", ...options }));
  const ports = [{}, { tls: "implicit" }, { tls: "none" }, { port: 465 }, { port: 2525 }].map((options) => {
    const { port, tls } = mail(options) as Destination & { kind: "smtp" };
    return [port, tls];
  });
  assert.deepEqual(ports, [
    [587, "starttls"],
    [465, "implicit"],
    [25, "none"],
    [465, "implicit"],
    [2525, "starttls"],
  ]);
});

test("secrets are in no text, no JSON and no inspection, and are read from the environment where it says so", () => {
  const all = [
    read(
      webhook("a", {
        url: "https://secret.example.com/secret",
        secret: ["secret-secret-secret", env("OTHER")],
        headers: { "x-key": "secret" },
      }),
    ),
    read(slack("b", { url: "https://secret.example.com/secret" })),
    read(pagerduty("c", { routingKey: "secret" })),
    read(opsgenie("d", { apiKey: "secret" })),
    read(smtp("e", { host: "mail", user: "secret", password: "secret", from: "a@b.c", to: ["d@e.f"], ca: "secret" })),
  ];
  const shown = `${JSON.stringify(all)}${inspect(all, { depth: 9 })}${all.map((one) => Object.values(one).join(" ")).join("\n")}`;
  assert.doesNotMatch(shown.replaceAll("secrets:", "").replaceAll('"secrets"', ""), /secret/);
  const key = (read(pagerduty("c", { routingKey: env("KEY") })) as Destination & { kind: "pagerduty" }).routingKey;
  assert.deepEqual([key.reveal({ KEY: "k" }), key.reveal({}), key.reveal({ KEY: "" })], ["k", undefined, undefined]);
});

test("mistakes are told by option, with nothing of a secret", () => {
  assert.deepEqual(problems(webhook("Ops", { url: "https://x.y", hidden: 1 } as never)), [
    'NAME_INVALID: a destination cannot have the name "Ops": a name is lower-case letters, digits, - and _, begins with a letter and has at most 100 characters',
    'OPTION_UNKNOWN: webhook "Ops" has no option "hidden"',
  ]);
  const bad: [Definition, RegExp][] = [
    [
      webhook("ops", {} as never),
      /^OPTION_INVALID: url of webhook "ops" is missing; it must be a URL that begins with https/,
    ],
    [webhook("ops", { url: "ftp://secret" }), /^OPTION_INVALID: url of webhook "ops" is something else;/],
    [webhook("ops", { url: "https://user:secret@x.y" }), /url of webhook "ops" is something else; .*names no user/],
    [
      webhook("ops", { url: "https://x.y", secret: "secret" }),
      /secret of webhook "ops" is something else; .*at least 16/,
    ],
    [webhook("ops", { url: "https://x.y", secret: "whsec_c2VjcmV0" }), /secret of webhook "ops" is something else/],
    [
      webhook("ops", { url: "https://x.y", headers: { "webhook-id": "1" } }),
      /headers of webhook "ops" is "webhook-id"/,
    ],
    [
      webhook("ops", { url: "https://x.y", headers: { a: "secret\nsecret" } }),
      /headers\.a of webhook "ops" is something else/,
    ],
    [
      webhook("ops", { url: "https://x.y", giveUpAfter: "soon" }),
      /giveUpAfter of webhook "ops" is "soon"; .*a duration/,
    ],
    [webhook("ops", { url: "https://x.y", timeout: "1h" }), /timeout of webhook "ops" is "1h"; .*at most 300s/],
    [webhook("ops", { url: "https://x.y", rate: { most: 0, per: "1s" } }), /rate of webhook "ops"/],
    [slack("team", { url: env("NOT A NAME") }), /url of slack "team" is something else/],
    [pagerduty("duty", {} as never), /routingKey of pagerduty "duty" is missing; it must be text, or env\("NAME"\)/],
    [smtp("mail", { host: "", from: "a@b.c", to: "d@e.f" }), /host of smtp "mail" is ""/],
    [
      smtp("mail", { host: "m", from: "nobody", to: "d@e.f" }),
      /from of smtp "mail" is "nobody"; it must be a mail address/,
    ],
    [smtp("mail", { host: "m", from: "a@b.c", to: [] }), /to of smtp "mail" is \[\]/],
    [smtp("mail", { host: "m", from: "a@b.c", to: "d@e.f\r\nBcc: x@y.z" }), /to of smtp "mail"/],
    [smtp("mail", { host: "m", from: "a@b.c", to: "d@e.f", user: "u" }), /password of smtp "mail" is missing/],
    [
      smtp("mail", { host: "m", tls: "none", from: "a@b.c", to: "d@e.f", user: "u", password: "secret" }),
      /tls of smtp "mail" is "none"/,
    ],
    [toStream("log", undefined as never), /stream of toStream "log" is missing/],
    [toStream("log", "orders", { event: 1 as never }), /event of toStream "log" is 1; it must be a function/],
  ];
  for (const [definition, expected] of bad) {
    const found = problems(definition);
    assert.match(found.join("\n"), expected);
    assert.doesNotMatch(found.join("\n").replaceAll(/^OPTION_INVALID: secret of/gm, ""), /secret/i);
  }
  read(smtp("mail", { host: "127.0.0.1", tls: "none", from: "a@b.c", to: "d@e.f", user: "u", password: "p" }));
});

test("a signing secret is base64 behind whsec_, or text of some length", () => {
  assert.equal(signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?.length, 24);
  assert.equal(signingKey("sixteen letters!")?.toString(), "sixteen letters!");
  for (const bad of ["short", "whsec_", "whsec_no base64 at all, however long", `whsec_${"A".repeat(100)}`])
    assert.equal(signingKey(bad), undefined, bad);
});

test("the first route that fits takes an alert, the rest goes where `to` says", () => {
  const problems: Problem[] = [];
  const duty = pagerduty("duty", { routingKey: env("KEY") });
  const routes = readAlertRoutes(
    {
      to: ["team"],
      routes: [
        { severity: "critical", kind: ["ledger", "alert"], to: [duty, "team", "duty"] },
        { name: "noise", to: [] },
      ],
    },
    problems,
  );
  assert.deepEqual(problems, []);
  const to = (severity: string, kind: string, name: string) => routeOf(routes, { severity, kind, name });
  assert.deepEqual(to("critical", "ledger", "imbalance"), ["duty", "team"]);
  assert.deepEqual(to("critical", "other", "x"), ["team"]);
  assert.deepEqual(to("warning", "alert", "noise"), []);
  assert.deepEqual(routeOf([] as AlertRoute[], { severity: "critical", kind: "ledger", name: "imbalance" }), []);
});

test("routes that cannot be followed are told", () => {
  const told = (options: unknown) => {
    const problems: Problem[] = [];
    readAlertRoutes(options, problems);
    return problems.map(({ message }) => message).join("\n");
  };
  assert.match(told("ops"), /alerts of millrace.config.ts is "ops"/);
  assert.match(told({ too: ["ops"] }), /alerts of millrace.config.ts has no option "too"/);
  assert.match(told({ to: "ops" }), /to of alerts of millrace.config.ts is "ops"; it must be a list/);
  assert.match(
    told({ routes: [{ severity: "fatal", to: ["a"] }] }),
    /severity of routes\[0\] of alerts.* is "fatal"; .*info, warning, critical/,
  );
  assert.match(told({ routes: [{ severity: "info" }] }), /to of routes\[0\] of alerts.* is missing/);
  assert.match(told({ routes: {} }), /routes of alerts/);
});
