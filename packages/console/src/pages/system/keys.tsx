/** Who may do what: keys are made, shown once, and revoked. */
import { type FormEvent, useState } from "react";
import { api, type CreatedKey } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { Badge, Dialog, Failure, Panel, Snippet, Time } from "../../ui/ui.tsx";
import { Refused } from "./settings.tsx";

type Key = Awaited<ReturnType<typeof api.keys>>[number];

export function Keys() {
  const { value: keys, error, reload } = useLoad("keys", (signal) => api.keys(signal));
  const [creating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<Key>();
  const make = (
    <button type="button" className="button" onClick={() => setCreating(true)}>
      New key
    </button>
  );
  return (
    <Panel title="Keys" flush {...(keys !== undefined && { actions: make })}>
      {error !== undefined && <Refused error={error} what="Keys" retry={reload} />}
      {keys !== undefined && (
        <table className="table">
          <thead>
            <tr>
              <th>Name</th>
              <th>May</th>
              <th>Made</th>
              <th>
                <span className="visually-hidden">What can be done</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {keys.map((key) => (
              <tr key={key.id}>
                <td>
                  {key.name} {key.revokedAt != null && <Badge tone="bad">revoked</Badge>}
                  <br />
                  <span className="faint mono">{key.id}</span>
                </td>
                <td>{key.scopes.join(", ")}</td>
                <td>
                  <Time at={key.createdAt} />
                </td>
                <td className="number">
                  {key.revokedAt == null && (
                    <button
                      type="button"
                      className="button danger"
                      aria-label={`Revoke ${key.name}`}
                      onClick={() => setRevoking(key)}
                    >
                      Revoke
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Dialog open={creating} onClose={() => setCreating(false)} label="A new key">
        <Create made={reload} close={() => setCreating(false)} />
      </Dialog>
      <Dialog open={revoking !== undefined} onClose={() => setRevoking(undefined)} label="Revoke a key">
        {revoking !== undefined && <Revoke of={revoking} done={reload} close={() => setRevoking(undefined)} />}
      </Dialog>
    </Panel>
  );
}

const SCOPES = [
  ["ingest", "sends events to every stream"],
  ["query", "reads: queries, and this console"],
  ["admin", "may do everything"],
] as const;

function Create({ made, close }: { made: () => void; close: () => void }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<ReadonlySet<string>>(new Set(["ingest"]));
  const [stream, setStream] = useState("");
  const [aws, setAws] = useState(false);
  const [created, setCreated] = useState<CreatedKey>();
  const [error, setError] = useState<Error>();
  const { value: streams } = useLoad("streams", (signal) => api.streams(signal));
  const create = async (submitted: FormEvent) => {
    submitted.preventDefault();
    setError(undefined);
    try {
      const wanted = [...scopes, ...(stream === "" ? [] : [`write:${stream}`])];
      setCreated(await api.createKey({ name: name.trim(), scopes: wanted, ...(aws && { aws }) }));
      made();
    } catch (failure) {
      setError(failure as Error);
    }
  };
  if (created !== undefined) {
    const { token, accessKey } = created;
    return (
      <div className="body">
        <h2>The key “{created.key.name}”</h2>
        <p>It is shown this once: the platform keeps only its hash.</p>
        <Snippet label="the key" text={token} />
        {accessKey !== undefined && (
          <Snippet
            label="the access key for AWS's SDKs"
            text={`AWS_ACCESS_KEY_ID=${accessKey.accessKeyId}\nAWS_SECRET_ACCESS_KEY=${accessKey.secretAccessKey}`}
          />
        )}
        <div className="row">
          <button type="button" className="button primary" onClick={close}>
            Done
          </button>
        </div>
      </div>
    );
  }
  const flip = (scope: string) =>
    setScopes((before) => new Set(before.has(scope) ? [...before].filter((one) => one !== scope) : [...before, scope]));
  return (
    <form onSubmit={(event) => void create(event)}>
      <h2>A new key</h2>
      <div className="field">
        <label htmlFor="key-name">Name</label>
        <input
          id="key-name"
          className="input"
          required
          value={name}
          placeholder="Who uses it, or what for"
          onChange={(event) => setName(event.target.value)}
        />
      </div>
      <fieldset className="field">
        <legend>It may</legend>
        {SCOPES.map(([scope, what]) => (
          <label key={scope} className="row">
            <input type="checkbox" checked={scopes.has(scope)} onChange={() => flip(scope)} /> {scope}
            <span className="soft">{what}</span>
          </label>
        ))}
      </fieldset>
      <div className="field">
        <label htmlFor="key-stream">Only send to one stream</label>
        <select id="key-stream" className="input" value={stream} onChange={(event) => setStream(event.target.value)}>
          <option value="">no</option>
          {streams?.map(({ name: one }) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <small>What a browser or an app may hold: leave the boxes above empty then.</small>
      </div>
      <label className="row">
        <input type="checkbox" checked={aws} onChange={() => setAws(!aws)} /> with an access key for AWS's SDKs
      </label>
      {error !== undefined && <Failure error={error} />}
      <div className="row">
        <button type="submit" className="button primary">
          Create
        </button>
        <button type="button" className="button" onClick={close}>
          Cancel
        </button>
      </div>
    </form>
  );
}

function Revoke({ of: key, done, close }: { of: Key; done: () => void; close: () => void }) {
  const [error, setError] = useState<Error>();
  const revoke = async () => {
    try {
      await api.revokeKey(key.id);
      done();
      close();
    } catch (failure) {
      setError(failure as Error);
    }
  };
  return (
    <div className="body">
      <h2>Revoke “{key.name}”?</h2>
      <p>
        Whoever uses it is refused at once, and whoever signed in here with it is signed out. It cannot be given back: a
        new key takes its place.
      </p>
      {error !== undefined && <Failure error={error} />}
      <div className="row">
        <button type="button" className="button danger" onClick={() => void revoke()}>
          Revoke it
        </button>
        <button type="button" className="button" onClick={close}>
          Keep it
        </button>
      </div>
    </div>
  );
}
