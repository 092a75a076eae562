/**
 * The model as the app asks it: the decoder in a worker of this page, or the server where that cannot be.
 *
 * The server's answers bridge the time until the decoder is loaded.
 */
import type { Api } from "../project/api";
import type { FromWorker, Question, ToWorker } from "../decoder/messages";
import * as decoding from "./decoding";
import { EMBEDDING_STRIDE, Resize } from "./resize";
import type { Candidate, Prediction, Prompt, Segmenter } from "./segmenter";
import { Signal } from "../signal";
import type { EmbeddingInfo } from "../project/types";

export type Backend = "wasm" | "server" | "loading";
type Server = Pick<Api, "models" | "embedding" | "predict">;

/** More help little: a click is many short steps. */
const MOST_THREADS = 4;

interface Waiting {
  prompt: Prompt;
  resolve: (prediction: Prediction) => void;
  reject: (reason: Error) => void;
}

/** A prediction that a newer one has taken the place of. */
export class Cancelled extends Error {
  override name = "Cancelled";
}

export class SamSession implements Segmenter {
  readonly backend = new Signal<Backend>("loading");
  private image: { info: EmbeddingInfo; resize: Resize } | null = null;
  private worker: DecoderWorker | null = null;
  private readonly held = new Set<string>();
  private busy = false;
  private next: Waiting | null = null;
  private closed = false;

  private constructor(private readonly server: Server) {}

  /** Ready when `backend` tells who answers. */
  static async create(server: Server): Promise<SamSession> {
    const session = new SamSession(server);
    await session.load();
    return session;
  }

  /** The image that the next predictions are about. */
  async setImage(info: EmbeddingInfo): Promise<void> {
    this.next?.reject(new Cancelled("Another image was opened."));
    this.next = null;
    this.image = { info, resize: new Resize(info.original_size, info.image_size) };
    await this.bring(info);
  }

  /** Answers one prompt at a time; of those that wait only the newest is answered. */
  predict(prompt: Prompt): Promise<Prediction> {
    return new Promise((resolve, reject) => {
      this.next?.reject(new Cancelled("A newer prompt came first."));
      this.next = { prompt, resolve, reject };
      void this.work();
    });
  }

  close(): void {
    this.closed = true;
    this.next?.reject(new Cancelled("The model was closed."));
    this.next = null;
    this.worker?.close();
  }

  private async work(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    for (let asked = this.next; asked; asked = this.next) {
      this.next = null;
      try {
        asked.resolve(await this.answer(asked.prompt));
      } catch (error) {
        asked.reject(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.busy = false;
  }

  private async answer(prompt: Prompt): Promise<Prediction> {
    if (!this.image) throw new Error("No image is open.");
    const { info, resize } = this.image;
    if (!this.worker || !this.held.has(info.id)) return { candidates: await this.askServer(prompt, info, resize) };
    const side = info.image_size / EMBEDDING_STRIDE;
    const question: Question = {
      ...decoding.pointsOf(prompt, resize),
      picture: info.id,
      several: decoding.isAmbiguous(prompt),
      ...(prompt.maskInput && { mask: decoding.overSquare(prompt.maskInput, side) }),
    };
    const { ious, masks } = await this.worker.ask(question);
    const [rows, columns] = resize.gridSize.map((cells) => 4 * cells) as [number, number];
    const candidates = masks.map((data, at) => candidate(ious[at]!, { data, rows, columns }));
    return { candidates };
  }

  private async askServer(prompt: Prompt, info: EmbeddingInfo, resize: Resize): Promise<Candidate[]> {
    const { points, box, maskInput } = prompt;
    const halves = maskInput && decoding.toFloat16(decoding.overSquare(maskInput, info.image_size / EMBEDDING_STRIDE));
    const { masks } = await this.server.predict({
      embedding: info.id,
      ...(points.length && {
        point_coords: points.map(({ x, y }): [number, number] => [x, y]),
        point_labels: points.map(({ label }) => label),
      }),
      ...(box && { boxes: box }),
      ...(halves && { mask_input: decoding.toBase64(new Uint8Array(halves.buffer)) }),
      multimask_output: decoding.isAmbiguous(prompt),
      low_res_masks: true,
      segmentations: false,
    });
    return masks.map((mask) => {
      const bytes = decoding.fromBase64(mask.low_res_mask ?? "");
      const square = decoding.fromFloat16(new Uint16Array(bytes.buffer));
      const lowRes = decoding.cropped(square, info.image_size / 4, resize.gridSize);
      return { predictedIou: mask.predicted_iou, stabilityScore: mask.stability_score, lowRes };
    });
  }

  private async load(): Promise<void> {
    try {
      const { decoder } = await this.server.models();
      const worker = await DecoderWorker.open(await fetched(decoder.url));
      if (this.closed) worker.close();
      else this.worker = worker;
      if (this.image) await this.bring(this.image.info);
      this.backend.set("wasm");
    } catch {
      // No WebAssembly, no memory, no weights: the server answers all there is to answer.
      this.backend.set("server");
    }
  }

  /** Sees to it that the worker holds an image. */
  private async bring(info: EmbeddingInfo): Promise<void> {
    if (!this.worker) return;
    const data = this.held.has(info.id) ? null : (await this.server.embedding(info.id, "float16")).data;
    const values = data && decoding.fromFloat16(new Uint16Array(data));
    const held = await this.worker.hold(info.id, values, new Resize(info.original_size, info.image_size).gridSize);
    this.held.clear();
    for (const id of held) this.held.add(id);
  }
}

/** Messages to the worker and their answers. */
class DecoderWorker {
  private readonly worker = new Worker(new URL("../decoder/decoder.worker.ts", import.meta.url), { type: "module" });
  private readonly pending = new Map<number, { resolve: (answer: FromWorker) => void; reject: (reason: Error) => void }>();
  private count = 0;

  private constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<FromWorker>): void => {
      const asked = this.pending.get(data.number);
      this.pending.delete(data.number);
      if ("problem" in data) asked?.reject(new Error(data.problem));
      else asked?.resolve(data);
    };
    this.worker.onerror = (): void => this.fail("The decoder in the browser has stopped; reload the page.");
  }

  static async open(weights: ArrayBuffer): Promise<DecoderWorker> {
    const decoder = new DecoderWorker();
    const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
    try {
      await decoder.send({ kind: "open", number: 0, weights, threads }, [weights]);
    } catch (error) {
      decoder.close();
      throw error;
    }
    return decoder;
  }

  async hold(id: string, values: Float32Array | null, grid: [number, number]): Promise<string[]> {
    const answer = await this.send({ kind: "picture", number: 0, id, grid, ...(values && { embeddings: values }) });
    return "held" in answer ? answer.held : [];
  }

  async ask(question: Question) {
    const answer = await this.send({ kind: "ask", number: 0, question });
    if (!("answer" in answer)) throw new Error("The decoder gave no answer.");
    return answer.answer;
  }

  close(): void {
    this.worker.terminate();
    this.fail("The decoder was closed.");
  }

  private send(message: ToWorker, transfer: Transferable[] = []): Promise<FromWorker> {
    const number = ++this.count;
    return new Promise((resolve, reject) => {
      this.pending.set(number, { resolve, reject });
      this.worker.postMessage({ ...message, number }, transfer);
    });
  }

  private fail(sentence: string): void {
    for (const { reject } of this.pending.values()) reject(new Error(sentence));
    this.pending.clear();
  }
}

function candidate(iou: number, lowRes: Candidate["lowRes"]): Candidate {
  const stability = decoding.stabilityScore(lowRes.data);
  return { predictedIou: Math.min(1, Math.max(0, iou)), stabilityScore: stability, lowRes };
}

async function fetched(url: string): Promise<ArrayBuffer> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`The decoder could not be loaded (status ${answer.status}).`);
  return answer.arrayBuffer();
}
