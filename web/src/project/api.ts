/** The HTTP of the server, typed. Every failure is an `ApiError` whose message can be shown to a person. */
import { readEvents } from "../model/events";
import type { Annotation, AnnotationInput, EmbeddingInfo, ImageItem, ImageState, Label, Rle } from "./types";

export interface ProjectInfo {
  name: string;
  labels_version: number;
  images: number;
  annotations: number;
  read_only: boolean;
}

export interface ModelsInfo {
  default: string;
  models: { name: string; image_size: number; description: string; license: string }[];
  decoder: { url: string };
}

export interface ImagePage {
  total: number;
  images: ImageItem[];
}

export interface AddedImages {
  images: ImageItem[];
  /** For each that was not added, a sentence that says why. */
  skipped: string[];
}

export interface LabelSet {
  version: number;
  labels: Label[];
}

export interface Imported {
  annotations: number;
  images: number;
  skipped: string[];
}

/** One mask of "everything", as SA-1B writes it. */
export interface AutomaticMask {
  segmentation: Rle;
  bbox: [number, number, number, number];
  area: number;
  predicted_iou: number;
  stability_score: number;
  point_coords: [number, number][];
}

export interface PredictRequest {
  embedding: string;
  point_coords?: [number, number][];
  point_labels?: number[];
  boxes?: [number, number, number, number];
  mask_input?: string;
  multimask_output?: boolean;
  low_res_masks?: boolean;
  segmentations?: boolean;
}

export interface PredictedMask {
  segmentation?: Rle;
  bbox?: [number, number, number, number];
  area?: number;
  predicted_iou: number;
  stability_score: number;
  /** Base64 of float16, row by row. */
  low_res_mask?: string;
  low_res_shape?: number[];
}

export type Priority = "now" | "later";
export const EXPORT_FORMATS = ["coco", "sa1b", "yolo", "labelme", "labelmap", "png"] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];
export type ImportFormat = Exclude<ExportFormat, "png">;

export class ApiError extends Error {
  constructor(
    message: string,
    /** 0: no answer at all. */
    readonly status: number,
    /** Of a 409: what the server has; null when it has nothing any more; undefined when it did not say. */
    readonly current?: unknown,
    /** Seconds that the server asks to wait. */
    readonly retryAfter = 0,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** Whether the same request may succeed later without a change. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || (this.status >= 500 && this.status !== 507);
  }
}

type Body = { json: unknown } | { form: FormData } | Record<never, never>;

export class Api {
  constructor(
    private readonly base = "",
    private readonly fetcher: typeof fetch = (input, init) => fetch(input, init),
  ) {}

  project(): Promise<ProjectInfo> {
    return this.json("GET", "/v1/project");
  }

  models(): Promise<ModelsInfo> {
    return this.json("GET", "/v1/models");
  }

  images(offset: number, limit: number): Promise<ImagePage> {
    return this.json("GET", `/v1/images?offset=${offset}&limit=${limit}`);
  }

  image(id: string): Promise<ImageItem> {
    return this.json("GET", imagePath(id));
  }

  fileUrl(id: string): string {
    return `${this.base}${imagePath(id)}/file`;
  }

  thumbnailUrl(id: string): string {
    return `${this.base}${imagePath(id)}/thumbnail`;
  }

  async file(id: string, signal?: AbortSignal): Promise<Blob> {
    return (await this.request("GET", `${imagePath(id)}/file`, {}, signal)).blob();
  }

  addImages(files: Iterable<File>): Promise<AddedImages> {
    return this.json("POST", "/v1/images", { form: formOf("image", files) });
  }

  setState(id: string, state: ImageState): Promise<ImageItem> {
    return this.json("PATCH", imagePath(id), { json: { state } });
  }

  embedImage(id: string, priority: Priority, signal?: AbortSignal): Promise<EmbeddingInfo> {
    return this.json("POST", `${imagePath(id)}/embed?priority=${priority}`, {}, signal);
  }

  /** The embedding itself, little-endian, with its shape. */
  async embedding(id: string, dtype: "float16" | "float32" = "float16"): Promise<{ data: ArrayBuffer; shape: number[] }> {
    const answer = await this.request("GET", `/v1/embeddings/${encodeURIComponent(id)}?dtype=${dtype}`);
    const shape = (answer.headers.get("X-Shape") ?? "").split(",").map(Number);
    return { data: await answer.arrayBuffer(), shape };
  }

  predict(request: PredictRequest, signal?: AbortSignal): Promise<{ masks: PredictedMask[] }> {
    return this.json("POST", "/v1/predict", { json: request }, signal);
  }

  /** All masks of an image that the model finds by itself. */
  async generate(
    id: string,
    progress: (done: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<AutomaticMask[]> {
    const answer = await this.request("POST", `${imagePath(id)}/generate`, {}, signal);
    if (!answer.body) throw new ApiError("The server sent an empty answer.", 0);
    for await (const { event, data } of readEvents(answer.body)) {
      const content: unknown = JSON.parse(data);
      if (event === "progress") {
        const { done, total } = content as { done: number; total: number };
        progress(done, total);
      } else if (event === "result") return (content as { annotations: AutomaticMask[] }).annotations;
      else if (event === "error") throw new ApiError((content as { detail: string }).detail, 500);
    }
    throw new ApiError("The connection ended before all masks were found; try again.", 0);
  }

  async annotations(imageId: string, signal?: AbortSignal): Promise<Annotation[]> {
    const path = `${imagePath(imageId)}/annotations`;
    return (await this.json<{ annotations: Annotation[] }>("GET", path, {}, signal)).annotations;
  }

  createAnnotation(imageId: string, id: string, input: AnnotationInput): Promise<Annotation> {
    return this.json("POST", `${imagePath(imageId)}/annotations`, { json: { ...inputOf(input), id } });
  }

  updateAnnotation(id: string, version: number, input: AnnotationInput): Promise<Annotation> {
    return this.json("PUT", annotationPath(id), { json: { ...inputOf(input), version } });
  }

  async deleteAnnotation(id: string, version: number): Promise<void> {
    await this.request("DELETE", `${annotationPath(id)}?version=${version}`);
  }

  labels(): Promise<LabelSet> {
    return this.json("GET", "/v1/labels");
  }

  saveLabels(version: number, labels: readonly Label[], renamed?: Record<string, string>): Promise<LabelSet> {
    return this.json("PUT", "/v1/labels", { json: { version, labels, ...(renamed && { renamed }) } });
  }

  exportUrl(format: ExportFormat): string {
    return `${this.base}/v1/export/${format}`;
  }

  importFiles(format: ImportFormat, files: Iterable<File>): Promise<Imported> {
    return this.json("POST", `/v1/import?format=${format}`, { form: formOf("files", files) });
  }

  private async json<T>(method: string, path: string, body: Body = {}, signal?: AbortSignal): Promise<T> {
    const answer = await this.request(method, path, body, signal);
    try {
      return (await answer.json()) as T;
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError("The server's answer could not be read.", 0);
    }
  }

  private async request(method: string, path: string, body: Body = {}, signal?: AbortSignal): Promise<Response> {
    const init: RequestInit = { method, credentials: "same-origin", ...(signal && { signal }) };
    if ("json" in body) {
      init.body = JSON.stringify(body.json);
      init.headers = { "Content-Type": "application/json" };
    } else if ("form" in body) init.body = body.form as FormData;
    let answer: Response;
    try {
      answer = await this.fetcher(this.base + path, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError("The server does not answer.", 0);
    }
    if (answer.ok) return answer;
    throw await errorOf(answer);
  }
}

async function errorOf(answer: Response): Promise<ApiError> {
  let detail = `The server answered with status ${answer.status}.`;
  let current: unknown;
  try {
    const body = (await answer.json()) as { detail?: unknown; current?: unknown };
    if (typeof body.detail === "string") detail = body.detail;
    current = body.current;
  } catch {
    // Not JSON: a proxy speaks, and the status says all there is.
  }
  return new ApiError(detail, answer.status, current, Number(answer.headers.get("Retry-After")) || 0);
}

/** What a person is told about any failure. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Only what a client says of an annotation: the server calculates the rest, and refuses fields it does not know. */
export function inputOf(annotation: AnnotationInput): AnnotationInput {
  const { segmentation, label, predicted_iou, stability_score, prompt, source } = annotation;
  return { segmentation, label, predicted_iou, stability_score, prompt, source };
}

function imagePath(id: string): string {
  return `/v1/images/${encodeURIComponent(id)}`;
}

function annotationPath(id: string): string {
  return `/v1/annotations/${encodeURIComponent(id)}`;
}

function formOf(field: string, files: Iterable<File>): FormData {
  const form = new FormData();
  for (const file of files) form.append(field, file, file.name);
  return form;
}
