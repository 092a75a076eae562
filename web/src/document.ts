/** What is undone and redone: the accepted masks of a picture and the draft over them, as values that never change. */
import type { Position } from "./masks/mask";
import type { Size } from "./model/resize";
import { encodeRle, runsArea, runsBox, type Box, type Runs } from "./masks/rle";
import type { Candidate, LowRes, PromptPoint } from "./model/segmenter";
import { CandidateShape, type Corrections } from "./masks/shapes";
import { uuid } from "./project/uuid";
import type { Annotation, AnnotationInput, PromptRecord } from "./project/types";

/** A mask that is not yet accepted: how it is asked for, what the model answered, what the hand corrected. */
export interface Draft extends Corrections {
  readonly points: readonly PromptPoint[];
  readonly box: Box | null;
  /** Best first; empty before the first answer and for a mask made by hand. */
  readonly candidates: readonly Candidate[];
  /** Which of the candidates is shown. */
  readonly chosen: number;
  /** The mask that the newest point corrects: the model sees it beside the points. */
  readonly refines: LowRes | null;
  /** Whether an answer of the model is on its way. */
  readonly pending: boolean;
}

export interface State {
  readonly draft: Draft | null;
  readonly annotations: readonly Annotation[];
}

export type Operation =
  | { kind: "add"; annotation: Annotation }
  | { kind: "update"; annotation: Annotation; before: Annotation }
  | { kind: "remove"; annotation: Annotation };

export const BLANK: Draft = {
  points: [],
  box: null,
  candidates: [],
  chosen: 0,
  refines: null,
  pending: false,
  added: null,
  removed: null,
};

/** A draft, or a new one, with clicks at places of the picture, which correct the candidate that is shown. */
export function withPoints(before: Draft | null, places: readonly Position[], label: 0 | 1, [height, width]: Size): Draft {
  const draft = before ?? BLANK;
  const within = (value: number, side: number): number => Math.min(side - 1, Math.max(0, Math.floor(value)));
  const added = places.map(({ x, y }) => ({ x: within(x, width), y: within(y, height), label }));
  const refines = draft.candidates[draft.chosen]?.lowRes ?? null;
  return { ...draft, points: [...draft.points, ...added], refines, pending: true };
}

/** A state that lies far back in the history without the model's answers: they are asked for again when it returns. */
export function shed(state: State): State {
  const { draft } = state;
  if (!draft?.candidates.length) return state;
  return { ...state, draft: { ...draft, candidates: [], chosen: 0, refines: null, pending: true } };
}

/** What must be saved so that the annotations of one state become those of another. */
export function operationsBetween(before: State, after: State): Operation[] {
  if (before.annotations === after.annotations) return [];
  const old = new Map(before.annotations.map((annotation) => [annotation.id, annotation]));
  const operations: Operation[] = [];
  for (const annotation of after.annotations) {
    const previous = old.get(annotation.id);
    old.delete(annotation.id);
    if (!previous) operations.push({ kind: "add", annotation });
    else if (previous !== annotation) operations.push({ kind: "update", annotation, before: previous });
  }
  for (const annotation of old.values()) operations.push({ kind: "remove", annotation });
  return operations;
}

/** Brings into a state what the server has under an id (null: nothing); states share what they shared before. */
export function adopting(id: string, current: Annotation | null): (state: State) => State {
  const known = new Map<readonly Annotation[], readonly Annotation[]>();
  return (state) => {
    let annotations = known.get(state.annotations);
    if (!annotations) {
      const found = state.annotations.findIndex((one) => one.id === id);
      const at = found < 0 ? state.annotations.length : found;
      annotations = state.annotations.toSpliced(at, 1, ...(current ? [current] : []));
      known.set(state.annotations, annotations);
    }
    return { ...state, annotations };
  };
}

/** The same annotation with another mask. */
export function withRuns<T extends AnnotationInput>(annotation: T, runs: Runs): T & Pick<Annotation, "bbox" | "area"> {
  const [left, top, right, bottom] = runsBox(runs);
  const bbox: Annotation["bbox"] = [left, top, right - left, bottom - top];
  return { ...annotation, segmentation: encodeRle(runs), bbox, area: runsArea(runs) };
}

/** What a draft becomes when it is accepted; `runs` are its pixels. */
export function draftAnnotation(draft: Draft, runs: Runs, imageId: string, label: string | null): Annotation {
  const candidate = draft.candidates[draft.chosen];
  const input: Omit<AnnotationInput, "segmentation"> = {
    label,
    // Made by hand, a mask is what its maker says it is.
    predicted_iou: candidate?.predictedIou ?? 1,
    stability_score: candidate?.stabilityScore ?? 1,
    prompt: promptRecord(draft),
    source: candidate ? "interactive" : "manual",
  };
  const made = withRuns({ ...input, segmentation: { size: [0, 0], counts: "" } }, runs);
  return { ...made, id: uuid(), image_id: imageId, version: 0 };
}

function promptRecord({ points, box }: Draft): PromptRecord {
  const record: PromptRecord = {};
  if (points.length) {
    record.point_coords = points.map(({ x, y }) => [x, y]);
    record.point_labels = points.map(({ label }) => label);
  }
  if (box) record.box = [...box];
  return record;
}

const shapes = new WeakMap<Candidate, CandidateShape>();

/** A candidate as it can be drawn; made once, as it looks through all logits. */
export function candidateShape(candidate: Candidate, size: Size): CandidateShape {
  const shape = shapes.get(candidate) ?? new CandidateShape(candidate, size);
  shapes.set(candidate, shape);
  return shape;
}
