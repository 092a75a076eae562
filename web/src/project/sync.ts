/**
 * Saves every operation at once.
 *
 * For each annotation there is what it should become and the version that the server has. One request at a time leads
 * from one to the other, so operations of an annotation arrive in order, and those made while a request is on its way
 * travel together. Requests may be repeated: what was sent is kept until it is answered, and an answer which shows that
 * it has already arrived is a success.
 */
import { ApiError, messageOf, type Api } from "./api";
import type { Operation } from "../document";
import type { Outbox, Unsaved } from "./outbox";
import { Signal } from "../signal";
import type { Annotation } from "./types";

/** Annotations that are saved at the same time. */
const PARALLEL = 4;
/** Milliseconds before the first repetition, and at most. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15_000;

export interface SyncStatus {
  /** Annotations with changes that the server has not acknowledged. */
  unsaved: number;
  /** The server does not answer at the moment. */
  offline: boolean;
  /** Annotations that the server refused; they are tried again only on request. */
  refused: number;
}

export interface Conflict {
  imageId: string;
  id: string;
  /** null: deleted here. */
  mine: Annotation | null;
  /** null: deleted elsewhere. */
  theirs: Annotation | null;
}

export interface SyncHooks {
  /** Two have changed the same annotation: which one stays? */
  onConflict(conflict: Conflict): Promise<"mine" | "theirs">;
  /** An annotation is now what somebody else made of it (null: gone). */
  onReplaced(imageId: string, id: string, current: Annotation | null): void;
  onRefused(reason: string): void;
}

interface Entry extends Unsaved {
  busy: boolean;
  refused: boolean;
}

type SavingApi = Pick<Api, "createAnnotation" | "updateAnnotation" | "deleteAnnotation">;

export class Sync {
  readonly status = new Signal<SyncStatus>({ unsaved: 0, offline: false, refused: 0 });
  /** Annotations with something to save, in the order of their first unsaved operation. */
  private readonly entries = new Map<string, Entry>();
  private readonly versions = new Map<string, number>();
  private wait = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private offline = false;
  private asking: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly api: SavingApi,
    private readonly outbox: Pick<Outbox, "keep" | "drop">,
    private readonly hooks: SyncHooks,
  ) {}

  /** What the server has of an image, with what is not yet saved of it. */
  merge(imageId: string, annotations: readonly Annotation[]): Annotation[] {
    for (const { id, version } of annotations) {
      if (!this.entries.has(id)) this.versions.set(id, version);
    }
    const merged = annotations.flatMap((annotation) => {
      const entry = this.entries.get(annotation.id);
      return entry ? (entry.target ?? []) : annotation;
    });
    const there = new Set(annotations.map(({ id }) => id));
    for (const { id, imageId: owner, target } of this.entries.values()) {
      if (owner === imageId && target && !there.has(id)) merged.push(target);
    }
    return merged;
  }

  /** Whether the server's annotations are not those that this tab shows, apart from what it has yet to save. */
  differs(shown: readonly Annotation[], annotations: readonly Annotation[]): boolean {
    const settled = ({ id }: Annotation): boolean => !this.entries.has(id);
    const before = new Set(shown.filter(settled).map(({ id }) => id));
    const now = annotations.filter(settled);
    return before.size !== now.length || now.some(({ id, version }) => !before.has(id) || this.versions.get(id) !== version);
  }

  /** Whether what a tab shows of an annotation is what the server has, or is on its way there. */
  isShown(shown: Annotation | undefined, annotation: Annotation): boolean {
    if (!shown) return false;
    return this.entries.has(annotation.id) || sameContent(shown, annotation);
  }

  /** Saves what was done. */
  record(operation: Operation): void {
    const { annotation, kind } = operation;
    this.want(annotation.image_id, annotation.id, kind === "remove" ? null : annotation);
  }

  /** Goes on with what an earlier page could not save. */
  resume(left: readonly Unsaved[]): void {
    for (const unsaved of left) {
      if (!this.entries.has(unsaved.id)) this.entries.set(unsaved.id, { ...unsaved, busy: false, refused: false });
    }
    this.publish();
    this.pump();
  }

  /** Tries again, also what was refused. */
  retry(): void {
    for (const entry of this.entries.values()) entry.refused = false;
    this.publish();
    this.wake();
  }

  /** Waits no longer: the network may be back. */
  wake(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.pump();
  }

  /** Gives up what the server refused. */
  discardRefused(): void {
    for (const entry of [...this.entries.values()]) if (entry.refused) this.finish(entry);
  }

  private want(imageId: string, id: string, target: Annotation | null): void {
    const entry = this.entries.get(id);
    if (entry) {
      entry.target = target;
      entry.refused = false;
      this.store(entry);
    } else {
      const base = this.versions.get(id) ?? 0;
      const made: Entry = { id, imageId, target, base, busy: false, refused: false };
      this.entries.set(id, made);
      this.store(made);
    }
    this.publish();
    this.pump();
  }

  private pump(): void {
    if (this.timer) return;
    let busy = [...this.entries.values()].filter((entry) => entry.busy).length;
    // While the server is away one request is enough to find out when it is back.
    const most = this.offline || this.wait ? 1 : PARALLEL;
    for (const entry of [...this.entries.values()]) {
      if (busy >= most) return;
      if (entry.busy || entry.refused) continue;
      busy++;
      void this.save(entry);
    }
  }

  private async save(entry: Entry): Promise<void> {
    entry.busy = true;
    try {
      await this.step(entry);
      this.wait = 0;
      this.offline = false;
    } catch (error) {
      this.failed(entry, error);
    }
    entry.busy = false;
    this.publish();
    this.pump();
  }

  /** One request towards the target. */
  private async step(entry: Entry): Promise<void> {
    // What may have arrived is repeated as it was, then the answer is certain.
    const goal = entry.sent === undefined ? entry.target : entry.sent;
    if (!goal && !entry.base) return this.arrived(entry, null, 0);
    entry.sent = goal;
    this.store(entry);
    try {
      if (!goal) {
        await this.api.deleteAnnotation(entry.id, entry.base);
        this.arrived(entry, null, 0);
      } else {
        const saved = entry.base
          ? await this.api.updateAnnotation(entry.id, entry.base, goal)
          : await this.api.createAnnotation(entry.imageId, entry.id, goal);
        this.arrived(entry, goal, saved.version);
      }
    } catch (error) {
      const current = currentOf(error, goal, entry.base);
      if (current === undefined) throw error;
      if (sameContent(current, goal)) this.arrived(entry, goal, current?.version ?? 0);
      else await this.settle(entry, current);
    }
  }

  /** The server has `goal` now, as `version`. */
  private arrived(entry: Entry, goal: Annotation | null, version: number): void {
    delete entry.sent;
    entry.base = version;
    if (version) this.versions.set(entry.id, version);
    else this.versions.delete(entry.id);
    if (entry.target === goal || sameContent(entry.target, goal)) this.finish(entry);
    else this.store(entry);
  }

  private async settle(entry: Entry, theirs: Annotation | null): Promise<void> {
    delete entry.sent;
    const question = { imageId: entry.imageId, id: entry.id, theirs };
    // Questions come one after the other; `mine` is what it is when the question is put.
    const answer = this.asking.then(() =>
      sameContent(entry.target, theirs) ? "theirs" : this.hooks.onConflict({ ...question, mine: entry.target }),
    );
    this.asking = answer.catch(() => {});
    const choice = await answer;
    entry.base = theirs?.version ?? 0;
    if (choice === "mine") return this.store(entry);
    if (theirs) this.versions.set(entry.id, theirs.version);
    else this.versions.delete(entry.id);
    this.finish(entry);
    this.hooks.onReplaced(entry.imageId, entry.id, theirs);
  }

  private failed(entry: Entry, error: unknown): void {
    const passing = error instanceof ApiError && error.passing;
    if (!passing) {
      delete entry.sent;
      entry.refused = true;
      this.store(entry);
      this.hooks.onRefused(messageOf(error));
      return;
    }
    this.offline = error.status !== 429;
    this.wait = Math.min(LONGEST_WAIT, this.wait ? this.wait * 2 : FIRST_WAIT);
    const wait = Math.max(this.wait, error.retryAfter * 1000);
    if (this.timer) clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.pump();
    }, wait);
  }

  private store({ id, imageId, target, base, sent }: Entry): void {
    this.outbox.keep({ id, imageId, target, base, ...(sent !== undefined && { sent }) });
  }

  private finish(entry: Entry): void {
    this.entries.delete(entry.id);
    this.outbox.drop(entry.id);
    this.publish();
  }

  private publish(): void {
    const refused = [...this.entries.values()].filter((entry) => entry.refused).length;
    const status = { unsaved: this.entries.size, offline: this.offline && this.entries.size > 0, refused };
    const { value } = this.status;
    const same = value.unsaved === status.unsaved && value.offline === status.offline && value.refused === refused;
    if (!same) this.status.set(status);
  }
}

/** What the server has instead of what was sent; undefined when the error does not say. */
function currentOf(error: unknown, goal: Annotation | null, base: number): Annotation | null | undefined {
  if (!(error instanceof ApiError)) return undefined;
  if (error.status === 409) return (error.current ?? null) as Annotation | null;
  // Gone: what a delete wanted, and to a change the same as a conflict with a delete. To a new one, the image is gone.
  if (error.status === 404 && (base || !goal)) return null;
  return undefined;
}

/** Whether two annotations say the same, apart from their version. */
export function sameContent(one: Annotation | null, other: Annotation | null): boolean {
  if (!one || !other) return one === other;
  return (
    one.segmentation.counts === other.segmentation.counts &&
    one.label === other.label &&
    one.source === other.source &&
    Math.abs(one.predicted_iou - other.predicted_iou) < 1e-6 &&
    Math.abs(one.stability_score - other.stability_score) < 1e-6
  );
}
