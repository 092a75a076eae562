/** The open image: fetches the picture, its masks and its embedding, and prepares what comes next. */
import { ApiError, messageOf, type Api } from "./project/api";
import type { Editor, Operation } from "./editor";
import type { ImageList } from "./project/images";
import type { CurrentModel } from "./model/model";
import { Signal } from "./signal";
import type { Sync } from "./project/sync";
import type { Annotation, EmbeddingInfo, ImageItem } from "./project/types";

/** Images whose embeddings are made ahead. */
const AHEAD = 2;
/** Seconds to wait for a busy server that does not say how long. */
const BUSY_WAIT = 2;

export type Phase =
  | { kind: "idle" }
  | { kind: "loading"; image: ImageItem }
  | { kind: "ready"; image: ImageItem }
  | { kind: "failed"; image: ImageItem; reason: string };

/** How far the model is with the open image. */
export type Readiness = { kind: "none" } | { kind: "working" } | { kind: "ready" } | { kind: "failed"; reason: string };

export class Workspace {
  readonly phase = new Signal<Phase>({ kind: "idle" });
  readonly model = new Signal<Readiness>({ kind: "none" });
  private opening = new AbortController();

  constructor(
    private readonly api: Api,
    private readonly editor: Editor,
    private readonly images: ImageList,
    private readonly sync: Sync,
    private readonly seen: CurrentModel,
  ) {
    editor.onOperation = (operation) => this.record(operation);
  }

  get image(): ImageItem | undefined {
    return this.images.find(this.images.current.value);
  }

  async open(image: ImageItem): Promise<void> {
    this.opening.abort();
    const opening = new AbortController();
    this.opening = opening;
    this.editor.close();
    this.images.current.set(image.id);
    this.phase.set({ kind: "loading", image });
    void this.embed(image, opening.signal);
    try {
      if (image.problem) throw new Error(image.problem);
      const [bitmap, annotations] = await Promise.all([
        this.picture(image, opening.signal),
        this.api.annotations(image.id, opening.signal),
      ]);
      if (opening.signal.aborted) return;
      this.editor.open(image, bitmap, this.sync.merge(image.id, annotations));
      this.count(image.id);
      this.phase.set({ kind: "ready", image });
    } catch (error) {
      if (!opening.signal.aborted) this.phase.set({ kind: "failed", image, reason: messageOf(error) });
    }
  }

  /** Looks whether somebody else has changed the open image; gives how many masks. */
  async refresh(): Promise<number> {
    const phase = this.phase.value;
    if (phase.kind !== "ready") return 0;
    const annotations = await this.api.annotations(phase.image.id);
    const { editor, sync } = this;
    if (this.phase.value !== phase || !sync.differs(editor.annotations.value, annotations)) return 0;
    const before = new Map(editor.annotations.value.map((one) => [one.id, one]));
    const changes = new Map<string, Annotation | null>();
    for (const { id } of before.values()) changes.set(id, null);
    for (const one of sync.merge(phase.image.id, annotations)) {
      const same = before.get(one.id) === one || sync.isShown(before.get(one.id), one);
      if (same) changes.delete(one.id);
      else changes.set(one.id, one);
    }
    for (const [id, current] of changes) editor.adopt(id, current);
    this.count(phase.image.id);
    return changes.size;
  }

  /** Tries again to have the model see the open image. */
  retryModel(): void {
    const { value } = this.phase;
    if (value.kind === "ready") void this.embed(value.image, this.opening.signal);
  }

  private async picture(image: ImageItem, signal: AbortSignal): Promise<ImageBitmap> {
    const file = await this.api.file(image.id, signal);
    try {
      return await createImageBitmap(file);
    } catch {
      throw new Error(`The browser cannot read ${image.file_name}; is the file damaged?`);
    }
  }

  private async embed(image: ImageItem, signal: AbortSignal): Promise<void> {
    if (image.problem) return this.model.set({ kind: "none" });
    this.model.set({ kind: "working" });
    const reason = await this.seen.see(this.embedding(image, signal));
    if (signal.aborted) return;
    this.model.set(reason === null ? { kind: "ready" } : { kind: "failed", reason });
    if (reason === null) await this.prepare(signal);
  }

  /** A busy server is asked again when it says so. */
  private async embedding(image: ImageItem, signal: AbortSignal): Promise<EmbeddingInfo> {
    for (;;) {
      try {
        return await this.api.embedImage(image.id, "now", signal);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 429) throw error;
        await new Promise((done) => setTimeout(done, (error.retryAfter || BUSY_WAIT) * 1000));
        signal.throwIfAborted();
      }
    }
  }

  /** One after the other, and only while nobody waits for something else: ahead of time there is no hurry. */
  private async prepare(signal: AbortSignal): Promise<void> {
    for (const next of this.images.neighbours(1, AHEAD)) {
      if (signal.aborted || next.problem) return;
      try {
        await this.api.embedImage(next.id, "later", signal);
        await this.api.file(next.id, signal);
      } catch {
        return; // it will be asked for again when it is opened, and then says what is wrong
      }
    }
  }

  private record(operation: Operation): void {
    this.sync.record(operation);
    this.count(operation.annotation.image_id);
  }

  /** Brings the gallery to what the editor shows: how many masks, and that work has begun. */
  private count(imageId: string): void {
    const image = this.images.find(imageId);
    if (!image || imageId !== this.images.current.value) return;
    const annotations = this.editor.annotations.value.length;
    const state = image.state === "new" && annotations > 0 ? "in_progress" : image.state;
    if (image.annotations !== annotations || image.state !== state) this.images.put({ ...image, annotations, state });
  }
}
