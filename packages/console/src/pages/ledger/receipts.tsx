/** Where one event is: looked for in every stream, since an id alone does not say which. */
import { Link } from "wouter";
import type { ArrivalReceipt, Receipt } from "../../../../../src/flow/receipt.ts";
import { ApiError, api } from "../../api.ts";
import { useLoad } from "../../load.ts";
import { Badge, Empty, Failure, Loading, Panel, Time, type Tone } from "../../ui/ui.tsx";

type Wired = Omit<Receipt, "arrivals"> & {
  readonly arrivals: readonly (ArrivalReceipt & { readonly acceptedAt?: string })[];
};

export function Receipts({ id, close }: { id: string; close: () => void }) {
  const { value, error, reload } = useLoad(`receipt ${id}`, async (signal) => {
    const streams = await api.streams(signal);
    const found = await Promise.all(
      streams.map(async ({ name }) => {
        try {
          return [(await api.receipt(name, id, signal)) as unknown as Wired];
        } catch (failure) {
          if (failure instanceof ApiError && failure.status === 404) return [];
          throw failure;
        }
      }),
    );
    return found.flat();
  });
  const done = (
    <button type="button" className="button quiet" onClick={close}>
      Close
    </button>
  );
  return (
    <Panel title={<>Where is “{id}”?</>} actions={done}>
      {error !== undefined && <Failure error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading what="its way" />}
      {value?.length === 0 && (
        <Empty title="No event of this id was accepted">
          <p>
            If its sender was told 202 it would be here. What was refused at the door is among the{" "}
            <Link
              to={`/sql?sql=${encodeURIComponent("select * from system.dead_letters order by first_seen desc limit 100")}`}
            >
              dead letters
            </Link>
            .
          </p>
        </Empty>
      )}
      {value?.map((receipt) =>
        receipt.arrivals.map((arrival) => (
          <div key={`${receipt.stream} ${arrival.partition} ${arrival.offset}`}>
            <p className="row">
              <Link to={`/streams/${encodeURIComponent(receipt.stream)}`}>{receipt.stream}</Link>
              <span className="faint">
                partition {arrival.partition}, offset {arrival.offset}
              </span>
              {!arrival.original && <Badge>repeats another</Badge>}
              {arrival.acceptedAt !== undefined && <Time at={arrival.acceptedAt} />}
            </p>
            <ul className="fates">
              <FateLine name={`bronze.${receipt.stream}`} fate={arrival.bronze} />
              {arrival.tables.map(({ table, ...fate }) => (
                <FateLine key={table} name={table} fate={fate} />
              ))}
              {arrival.functions.map(({ function: name, ...fate }) => (
                <FateLine key={name} name={name} fate={fate} />
              ))}
            </ul>
          </div>
        )),
      )}
    </Panel>
  );
}

const TONES: Readonly<Record<string, Tone>> = {
  stored: "ok",
  handled: "ok",
  "dead-lettered": "bad",
  pending: "warning",
};

function FateLine({ name, fate }: { name: string; fate: { readonly fate: string } }) {
  const { fate: what, ...more } = fate;
  const facts = Object.entries(more as Readonly<Record<string, unknown>>).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  return (
    <li>
      <span>{name}</span>
      <Badge tone={TONES[what] ?? "idle"}>{what}</Badge>
      <span className="faint">{facts.map(([fact, value]) => `${fact} ${String(value)}`).join(" · ")}</span>
    </li>
  );
}
