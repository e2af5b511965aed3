import { ApiError, api } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, Panel } from "../../ui/ui.tsx";

/** Every setting in force, and where it comes from. Secrets are hidden by the platform itself. */
export function Settings() {
  const { value: settings, error, reload } = useLoad("settings", (signal) => api.settings(signal));
  return (
    <Panel title="Settings" flush>
      {error !== undefined && <Refused error={error} what="Settings" retry={reload} />}
      {settings !== undefined && (
        <table className="table">
          <thead>
            <tr>
              <th>Setting</th>
              <th>Value</th>
              <th>From</th>
            </tr>
          </thead>
          <tbody>
            {settings.map(({ name, value, source, doc }) => (
              <tr key={name}>
                <td>
                  <span className="mono">{name}</span>
                  <br />
                  <span className="faint">{doc}</span>
                </td>
                <td className="mono">{value ?? "not set"}</td>
                <td>
                  {source === "default" ? (
                    <span className="faint">default</span>
                  ) : (
                    <Badge tone="accent">{source}</Badge>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

/** What only keys with the scope `admin` see is no failure for the others. */
export function Refused({ error, what, retry }: { error: Error; what: string; retry: () => void }) {
  if (error instanceof ApiError && error.status === 403)
    return (
      <Empty title={`${what} are for keys that may administrate`}>
        <p>Sign in with a key that has the scope “admin” to see them.</p>
      </Empty>
    );
  return <Failure error={error} retry={retry} />;
}
