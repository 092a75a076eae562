/**
 * The annotator's canvas: one picture, its accepted masks, the draft over them, and the tools that change both.
 *
 * Everything that can be undone is a `State` in the history; `show` brings the screen, the signals and the server
 * (by `onOperation`) to a state. The page around the canvas watches the signals and calls the methods.
 */
import { Brushwork } from "./brushwork";
import { Crosshair } from "./canvas/crosshair";
import { adopting, BLANK, draftAnnotation, operationsBetween, shed, withPoints } from "./document";
import type { Draft, Operation, State } from "./document";
import { Gestures } from "./canvas/gestures";
import { History } from "./history";
import { clipped, maskToRuns, type Position } from "./masks/mask";
import { Painter } from "./canvas/painter";
import { Prompter } from "./model/prompter";
import { Proposals } from "./model/proposals";
import type { Size } from "./model/resize";
import { contains, type Box } from "./masks/rle";
import { Scene } from "./canvas/scene";
import type { Candidate, Segmenter } from "./model/segmenter";
import { rleShape, shapeToMask, type RunsShape } from "./masks/shapes";
import { Signal } from "./signal";
import { handlersOf } from "./tools/all";
import type { PointerAt, Tool, ToolHandler } from "./tools/tool";
import type { Annotation, ImageItem, Label } from "./project/types";
import type { Viewport } from "./canvas/viewport";
import { masks, Voice } from "./panels/voice";

export type { Draft, Operation } from "./document";
export type { Tool } from "./tools/tool";

/** What the clock says of the last answer: from the pointer's event to the answer, and from there to the screen. */
export interface Latency {
  decode: number;
  paint: number;
}

export class Editor {
  readonly tool = new Signal<Tool>("point");
  readonly draft = new Signal<Draft | null>(null);
  readonly selection = new Signal<string | null>(null);
  readonly hovered = new Signal<string | null>(null);
  readonly opacity = new Signal(0.45);
  /** CSS pixels across. */
  readonly brushSize = new Signal(24);
  /** The label that the next accepted mask gets. */
  readonly label = new Signal<string | null>(null);
  readonly labels = new Signal<Label[]>([]);
  readonly annotations = new Signal<readonly Annotation[]>([]);
  readonly masksVisible = new Signal(true);
  readonly canUndo = new Signal(false);
  readonly canRedo = new Signal(false);
  readonly latency = new Signal<Latency | null>(null);
  /** One sentence when the model could not answer; null again with its next answer. */
  readonly problem = new Signal<string | null>(null);
  onOperation: (operation: Operation) => void = () => {};

  readonly painter: Painter;
  readonly proposals = new Proposals();
  readonly brushwork = new Brushwork(this);
  readonly crosshair: Crosshair;
  /** [H, W] of the picture. */
  size: Size = [1, 1];
  private image: ImageItem | null = null;
  private history = new History<State>({ draft: null, annotations: [] }, shed);
  private shown: State = this.history.current;
  private acceptsNext = false;
  private readonly handlers = handlersOf(this);
  private readonly prompter: Prompter;
  private readonly gestures: Gestures;
  private readonly scene: Scene;
  private readonly voice: Voice;

  constructor(host: HTMLElement, model: Segmenter) {
    if (getComputedStyle(host).position === "static") host.style.position = "relative";
    this.painter = new Painter(host);
    this.prompter = new Prompter(model);
    this.voice = new Voice(this.painter.canvas, host);
    this.gestures = new Gestures(this.painter.canvas, this);
    this.crosshair = new Crosshair(this.painter.canvas, this);
    this.scene = new Scene(this);
    let before = this.handler;
    this.tool.subscribe(() => {
      before.cancel?.();
      before.hover?.(null);
      before = this.handler;
      this.setCursor(null);
    });
    this.voice.name(null);
    this.setCursor(null);
  }

  get viewport(): Viewport {
    return this.painter.viewport;
  }

  get handler(): ToolHandler {
    return this.handlers[this.tool.value];
  }

  get isOpen(): boolean {
    return this.image !== null;
  }

  get pans(): boolean {
    return this.tool.value === "pan";
  }

  get selected(): Annotation | null {
    return this.annotations.value.find(({ id }) => id === this.selection.value) ?? null;
  }

  /** Shows a picture. The model is told of it by whoever holds the session (`SamSession.setImage`). */
  open(image: ImageItem, bitmap: ImageBitmap, annotations: readonly Annotation[]): void {
    this.leave();
    this.image = image;
    this.size = [bitmap.height, bitmap.width];
    this.history = new History<State>({ draft: null, annotations: [...annotations] }, shed);
    this.shown = { draft: null, annotations: [] };
    this.painter.show(bitmap);
    this.show(this.history.current, false);
    this.crosshair.reset();
    this.voice.name(image.file_name);
    this.setCursor(null);
    this.say(`${image.file_name}, ${masks(annotations.length)}`);
    const lost = annotations.filter((annotation) => annotation.area && !this.shapeOf(annotation).runs.ends[1]).length;
    if (lost) this.problem.set(`${masks(lost)} cannot be shown: damaged, or made for a picture of another size.`);
  }

  close(): void {
    this.leave();
    this.image = null;
    this.history = new History<State>({ draft: null, annotations: [] }, shed);
    this.painter.show(null);
    this.show(this.history.current, false);
    this.voice.name(null);
    this.setCursor(null);
  }

  /** Clicks at places of the picture, as one step. Places outside it count as its border. */
  addPoints(places: readonly Position[], label: 0 | 1, stamp = performance.now()): void {
    this.setDraft(withPoints(this.draft.value, places, label, this.size), stamp);
  }

  /** The button is down where a click may follow: the answer is begun with. */
  anticipatePoint(place: Position, label: 0 | 1): void {
    if (!this.draft.value?.pending) this.prompter.anticipate(withPoints(this.draft.value, [place], label, this.size));
  }

  /** A box in place of the one before; a box drawn anew begins anew, so points and corrections go. */
  setBox(box: Box, stamp = performance.now()): void {
    const inside = this.tidyBox(box);
    if (inside) this.setDraft({ ...BLANK, box: inside, pending: true }, stamp);
  }

  setDraft(draft: Draft | null, stamp = performance.now()): void {
    this.commit({ ...this.history.current, draft }, stamp);
  }

  /** Makes the draft a mask that is saved. While an answer is on its way, that answer is accepted. */
  accept(): void {
    const draft = this.draft.value;
    if (!draft || !this.image) return;
    if (draft.pending) {
      this.acceptsNext = true;
      return;
    }
    const shape = this.brushwork.shapeOf(draft);
    const runs = shape && maskToRuns(shapeToMask(shape, this.size), shape.box);
    if (!runs || runs.ends.length < 2) return;
    const annotation = draftAnnotation(draft, runs, this.image.id, this.label.value);
    const annotations = [...this.history.current.annotations, annotation];
    this.commit({ draft: null, annotations });
    this.say(`Mask accepted, ${masks(annotations.length)}`);
  }

  /** Ends, of what is under way, the innermost: a stroke, the draft, the selection, the proposals. */
  cancel(): void {
    if (this.gestures.busy) this.gestures.cancel();
    else if (this.draft.value) this.setDraft(null);
    else if (this.selection.value) this.selection.set(null);
    else this.proposals.show(null);
  }

  undo(): void {
    this.gestures.cancel();
    this.show(this.history.undo());
  }

  redo(): void {
    this.gestures.cancel();
    this.show(this.history.redo());
  }

  remove(id: string): void {
    const { draft, annotations } = this.history.current;
    this.commit({ draft, annotations: annotations.filter((annotation) => annotation.id !== id) });
    this.say(`Mask removed, ${masks(this.annotations.value.length)}`);
  }

  /** As one step. */
  removeAll(): void {
    this.commit({ draft: this.history.current.draft, annotations: [] });
    this.say("All masks removed");
  }

  relabel(id: string, label: string | null): void {
    const annotation = this.annotations.value.find((one) => one.id === id);
    if (annotation && annotation.label !== label) this.replace({ ...annotation, label });
  }

  /** Another version of an accepted mask, as a step of its own. */
  replace(changed: Annotation): void {
    const { draft, annotations } = this.history.current;
    this.commit({ draft, annotations: annotations.map((one) => (one.id === changed.id ? changed : one)) });
  }

  /**
   * What the server has instead (another tab saved first); null when it is gone there. No step and no operation: it is
   * so in all steps, for undo must not take back what somebody else did.
   */
  adopt(id: string, current: Annotation | null): void {
    this.history.rewrite(adopting(id, current));
    this.show(this.history.current, false);
  }

  /** Shows another of the draft's candidates, counted from 0. */
  chooseCandidate(chosen: number): void {
    const state = this.history.current;
    const candidate = state.draft?.candidates[chosen];
    if (!state.draft || !candidate) return;
    this.history.amend({ ...state, draft: { ...state.draft, chosen } });
    this.show(this.history.current);
    this.say(`Candidate ${chosen + 1}, predicted IoU ${candidate.predictedIou.toFixed(2)}`);
  }

  nextCandidate(): void {
    const draft = this.draft.value;
    if (draft?.candidates.length) this.chooseCandidate((draft.chosen + 1) % draft.candidates.length);
  }

  /** Fills holes and removes islands of fewer than so many pixels, in the draft or the selected mask. */
  cleanUp(minArea = 100): void {
    this.brushwork.cleanUp(minArea);
  }

  fit(): void {
    this.viewport.fit();
  }

  zoomIn(): void {
    this.viewport.zoomBy(1.25);
  }

  zoomOut(): void {
    this.viewport.zoomBy(1 / 1.25);
  }

  /** Accepted masks at a place, the smallest first. */
  annotationsAt({ x, y }: Position): Annotation[] {
    if (!this.masksVisible.value) return [];
    return this.annotations.value
      .filter((annotation) => contains(this.shapeOf(annotation).runs, Math.floor(x), Math.floor(y)))
      .sort((one, other) => one.area - other.area);
  }

  proposalAt(at: Position): string | null {
    return this.proposals.at(at, this.annotations.value)?.id ?? null;
  }

  /** Accepts masks of "everything": those named, or all that are shown. */
  takeProposals(ids?: readonly string[]): void {
    const { draft, annotations } = this.history.current;
    const taken = this.proposals.take(ids, annotations, this.image?.id ?? "", this.label.value);
    if (!taken.length) return;
    this.commit({ draft, annotations: [...annotations, ...taken] });
    this.say(`${masks(taken.length)} accepted, ${masks(this.annotations.value.length)} in all`);
  }

  previewPoint(at: Position): void {
    const point = { x: Math.floor(at.x), y: Math.floor(at.y), label: 1 as const };
    this.prompter.preview({ points: [point] }, (prediction) => this.scene.showPreview(prediction, null));
  }

  previewBox(box: Box): void {
    const inside = this.tidyBox(box);
    if (inside) {
      this.prompter.preview({ points: [], box: inside }, (prediction) => this.scene.showPreview(prediction, inside));
    }
    this.repaintMarks();
  }

  endPreview(): void {
    this.prompter.stopPreview();
    this.scene.endPreview();
    this.repaintMarks();
  }

  describe(x: number, y: number, stamp: number, opposite: boolean): PointerAt {
    const { viewport } = this;
    const at = viewport.toPicture(x * viewport.ratio, y * viewport.ratio);
    const inside = at.x >= 0 && at.y >= 0 && at.x < this.size[1] && at.y < this.size[0];
    return { ...at, inside, opposite, reach: viewport.ratio / viewport.scale, stamp };
  }

  /** null: that of the tool. */
  setCursor(cursor: string | null): void {
    this.painter.canvas.style.cursor = cursor ?? (this.isOpen ? this.handler.cursor : "default");
  }

  repaintMarks(): void {
    this.painter.invalidateTop();
  }

  say(sentence: string): void {
    this.voice.say(sentence);
  }

  repaint(): void {
    this.scene.repaint();
  }

  /** The mask of an annotation as it can be drawn; empty where it cannot be. */
  shapeOf({ segmentation }: Annotation): RunsShape {
    return rleShape(segmentation, this.size);
  }

  private commit(state: State, stamp = performance.now()): void {
    this.history.push(state);
    this.show(state, true, stamp);
  }

  /** Brings everything to a state; where `saves`, tells what that means for the annotations. */
  private show(state: State, saves = true, stamp = performance.now()): void {
    const before = this.shown;
    this.shown = state;
    if (state.draft !== before.draft) {
      this.acceptsNext = false;
      this.prompter.forget(state.draft !== null && state.draft.pending);
      this.scene.endPreview();
    }
    this.annotations.set(state.annotations);
    this.draft.set(state.draft);
    this.canUndo.set(this.history.canUndo);
    this.canRedo.set(this.history.canRedo);
    if (this.selection.value && !this.selected) this.selection.set(null);
    if (saves) for (const operation of operationsBetween(before, state)) this.onOperation(operation);
    if (state.draft?.pending && state.draft !== before.draft) void this.answer(state.draft, stamp);
  }

  /** Asks the model about a draft and puts the answer in its place. */
  private async answer(draft: Draft, stamp: number): Promise<void> {
    let candidates: readonly Candidate[] = [];
    let problem: string | null = null;
    try {
      const prediction = await this.prompter.ask(draft);
      if (!prediction) return;
      candidates = prediction.candidates;
    } catch (error) {
      problem = sentenceOf(error);
    }
    const state = this.history.current;
    if (state.draft !== draft) return;
    const arrived = performance.now();
    const accepts = this.acceptsNext;
    const answered = problem ? { pending: false } : { pending: false, candidates, chosen: 0 };
    this.history.amend({ ...state, draft: { ...draft, ...answered } });
    this.show(this.history.current);
    this.painter.paintAbove();
    this.problem.set(problem);
    if (problem) return;
    this.latency.set({ decode: arrived - stamp, paint: performance.now() - arrived });
    if (candidates[0]) this.say(`Predicted IoU ${candidates[0].predictedIou.toFixed(2)}`);
    if (accepts) this.accept();
  }

  /** Corners in order and inside the picture; null for a box of less than two pixels. */
  private tidyBox([x0, y0, x1, y1]: Box): Box | null {
    const ordered: Box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    const box = clipped(ordered, this.size[1], this.size[0]);
    return box[2] - box[0] > 1 && box[3] - box[1] > 1 ? box : null;
  }

  /** What was begun in the picture so far no longer counts. */
  private leave(): void {
    this.gestures.cancel();
    this.prompter.forget();
    this.scene.endPreview();
    this.brushwork.forget();
    this.selection.set(null);
    this.hovered.set(null);
    this.proposals.show(null);
    this.problem.set(null);
    this.latency.set(null);
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : "The model gave no answer; try again.";
}
