/**
 * Parts of the console that come when they are needed. One that does not come, because the platform is away or has a newer console by now, is asked for by loading the
 * page anew as soon as the platform answers: every state of a page is in its address.
 */
import { Component, type ComponentType, type LazyExoticComponent, lazy, type ReactNode, useEffect } from "react";
import { ApiError } from "./api.ts";
import { useLive } from "./live.ts";
import { Failure } from "./ui/ui.tsx";

class PartMissing extends ApiError {
  constructor(cause: unknown) {
    super(0, {
      code: "UNREACHABLE",
      message: "the platform does not answer: this part of the console could not be loaded",
      hint: "Is it running? The page goes on by itself once it is back.",
    });
    this.cause = cause;
  }
}

export function part<Props>(
  load: () => Promise<{ default: ComponentType<Props> }>,
): LazyExoticComponent<ComponentType<Props>> {
  return lazy(() =>
    load().catch((cause: unknown) => {
      throw new PartMissing(cause);
    }),
  );
}

/** Shows what went wrong in place of what it is around; with another `place` it tries again. */
export class PartBoundary extends Component<{ place: string; children: ReactNode }, { error?: Error; place?: string }> {
  override state: { error?: Error; place?: string } = {};

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override componentDidUpdate(before: { place: string }): void {
    if (before.place !== this.props.place && this.state.error !== undefined)
      this.setState({ error: undefined as never });
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div className="page">
        <Failure error={error} retry={() => location.reload()} />
        {error instanceof PartMissing && <LoadAnew />}
      </div>
    );
  }
}

const TRIED = "millrace.loaded-anew";
/** What fails again that soon fails for another reason, and is left to the viewer. */
const AGAIN_AFTER_MS = 15_000;

function LoadAnew(): null {
  const answers = useLive().kind === "live";
  useEffect(() => {
    if (!answers || Date.now() - Number(sessionStorage.getItem(TRIED) ?? 0) < AGAIN_AFTER_MS) return;
    sessionStorage.setItem(TRIED, String(Date.now()));
    location.reload();
  }, [answers]);
  return null;
}
