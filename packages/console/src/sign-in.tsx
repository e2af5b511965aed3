import { type FormEvent, useState } from "react";
import type { SessionView } from "../../../src/serve/session-route.ts";
import { api } from "./api.ts";
import { icons } from "./ui/icons.tsx";
import { Failure } from "./ui/ui.tsx";

/** A key is shown once; from then on the browser has a session, which no script can read. */
export function SignIn({ onSignedIn }: { onSignedIn: (session: SessionView) => void }) {
  const [key, setKey] = useState("");
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      onSignedIn(await api.signIn(key));
    } catch (failure) {
      setError(failure as Error);
    } finally {
      setBusy(false);
    }
  };
  const Brand = icons.brand;
  return (
    <main className="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <div className="brand">
          <Brand /> Millrace
        </div>
        <h1>Sign in</h1>
        <div className="field">
          <label htmlFor="key">Key</label>
          <input
            id="key"
            className="input mono"
            type="password"
            autoComplete="current-password"
            autoFocus
            required
            spellCheck={false}
            placeholder="mk_…"
            value={key}
            onChange={(event) => setKey(event.target.value)}
            aria-describedby="key-help"
          />
          <small id="key-help">
            The platform wrote an admin key to <code>admin.key</code> in its data folder on its first start, and{" "}
            <code>millrace start</code> names the file. More are made with <code>millrace keys create</code>.
          </small>
        </div>
        {error !== undefined && <Failure error={error} />}
        <button type="submit" className="button primary" disabled={busy || key.trim() === ""}>
          {busy ? "Signing in …" : "Sign in"}
        </button>
      </form>
    </main>
  );
}
