/** What the editor asks of a model: `SamSession` (sam.ts) is one, tests have simpler ones. */
import type { Box } from "../masks/rle";

export interface PromptPoint {
  x: number;
  y: number;
  /** 1: part of the object. 0: not part of it. */
  label: 0 | 1;
}

/** In pixels of the original picture. */
export interface Prompt {
  points: readonly PromptPoint[];
  box?: Box;
  maskInput?: LowRes;
}

/** Logits of a mask, row by row, of the cells of the decoder's grid that the picture covers. */
export interface LowRes {
  data: Float32Array;
  rows: number;
  columns: number;
}

export interface Candidate {
  predictedIou: number;
  stabilityScore: number;
  lowRes: LowRes;
}

export interface Prediction {
  /** Best first. */
  candidates: readonly Candidate[];
}

export interface Segmenter {
  /** A newer call may cancel an older one that still waits; that one is then rejected. */
  predict(prompt: Prompt): Promise<Prediction>;
}
