import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MillraceError } from "../../src/errors.ts";
import { backupRoute } from "../../src/serve/backup-route.ts";
import { openServer } from "./open-server.ts";

let server: Awaited<ReturnType<typeof openServer>>;
const heard: unknown[] = [];

before(async () => {
  server = await openServer((app) => {
    app.register(backupRoute, {
      backups: {
        async make({ dir, keep }) {
          heard.push({ dir, keep });
          if (dir === "/busy") throw new MillraceError("BACKUP_UNDER_WAY", { dir });
          return {
            backup: `${dir}/x`,
            files: 1,
            bytes: 2,
            linkedFiles: 0,
            copiedBytes: 2,
            events: 3,
            tables: 4,
            elapsedMs: 5,
          };
        },
      },
      requireScope: (scope) => async (request) => {
        if (request.headers.authorization !== scope)
          throw new MillraceError("FORBIDDEN", { name: "x", scope, scopes: "none" });
      },
    });
  });
});
after(() => server.close());

async function post(body: unknown, scope = "admin") {
  const response = await fetch(`${server.url}/v1/backups`, {
    method: "POST",
    headers: { authorization: scope, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as { backup?: string; error?: { code: string } } };
}

test("a backup is made where the request says, and answered with its folder", async () => {
  const { status, body } = await post({ dir: "/backups", keep: 3 });
  assert.deepEqual([status, body.backup, heard.pop()], [201, "/backups/x", { dir: "/backups", keep: 3 }]);
});

test("a folder that is not absolute, a wrong number, another scope and a second backup are refused", async () => {
  for (const wrong of [{}, { dir: "backups" }, { dir: 1 }, { dir: "/b", keep: 0 }, { dir: "/b", keep: "7" }, null]) {
    const { status, body } = await post(wrong);
    assert.deepEqual([status, body.error?.code], [400, "REQUEST_INVALID"], JSON.stringify(wrong));
  }
  assert.equal((await post({ dir: "/b" }, "query")).status, 403);
  assert.deepEqual(heard, []);
  assert.equal((await post({ dir: "/busy" })).body.error?.code, "BACKUP_UNDER_WAY");
});
