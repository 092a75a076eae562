/** What travels between the server and the app: the words of docs/glossary.md, as JSON has them. */

/** COCO compressed RLE, column by column; size is [height, width]. */
export interface Rle {
  size: [number, number];
  counts: string;
}

export type ImageState = "new" | "in_progress" | "done";

export interface ImageItem {
  id: string;
  file_name: string;
  width: number;
  height: number;
  state: ImageState;
  annotations: number;
  /** Why the file cannot be shown. */
  problem?: string | null;
}

/** What a mask was made with, in pixels of the original picture. */
export interface PromptRecord {
  point_coords?: [number, number][];
  point_labels?: number[];
  box?: [number, number, number, number];
}

export interface AnnotationInput {
  segmentation: Rle;
  label: string | null;
  predicted_iou: number;
  stability_score: number;
  prompt: PromptRecord;
  /** "manual" (brush, polygon), "interactive" (the model, prompted) or "automatic" (everything, import). */
  source: "manual" | "interactive" | "automatic";
}

export interface Annotation extends AnnotationInput {
  /** A UUID chosen by the client, so that a repeated request saves once. */
  id: string;
  image_id: string;
  /** Counts changes; a change must name the version it is based on. */
  version: number;
  bbox: [number, number, number, number];
  area: number;
}

export interface Label {
  name: string;
  /** #rrggbb */
  color: string;
  /** One key, or "" */
  shortcut: string;
}

export interface EmbeddingInfo {
  id: string;
  model: string;
  original_size: [number, number];
  image_size: number;
}
