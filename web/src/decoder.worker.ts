/**
 * The mask decoder in the browser: the graphs of `opensam.export.decoder`, run by ONNX Runtime in WebAssembly.
 *
 * What the decoder needs of a picture is made once and kept for the last few pictures, so that going back to one is
 * instant. The page asks one thing at a time.
 */
import * as ort from "onnxruntime-web/wasm";
import glueUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { FromWorker, Question, ToWorker } from "./decoder_messages";
import { candidatesOf, cellsOf } from "./decoding";

/** About 30 MB each where the square has 1024 pixels. */
const PICTURES_KEPT = 3;

type Tensors = Record<string, ort.Tensor>;

interface Picture {
  embeddings: ort.Tensor;
  side: Tensors;
}

let sessions: { image: ort.InferenceSession; prompt: ort.InferenceSession } | null = null;
const pictures = new Map<string, Picture>();
const scope = self as unknown as { postMessage(message: FromWorker, transfer?: Transferable[]): void };

let running: Promise<void> = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<ToWorker>): void => {
  running = running
    .then(() => handle(data))
    .catch((error: unknown) => {
      scope.postMessage({ number: data.number, problem: error instanceof Error ? error.message : String(error) });
    });
};

async function handle(message: ToWorker): Promise<void> {
  const { number } = message;
  if (message.kind === "open") {
    ort.env.wasm.wasmPaths = { mjs: new URL(glueUrl, location.href).href, wasm: new URL(wasmUrl, location.href).href };
    ort.env.wasm.numThreads = message.threads;
    const image = await ort.InferenceSession.create(message.image);
    sessions = { image, prompt: await ort.InferenceSession.create(message.prompt) };
    scope.postMessage({ number, held: [] });
  } else if (message.kind === "picture") {
    await hold(message.id, message.embeddings, message.shape);
    scope.postMessage({ number, held: [...pictures.keys()] });
  } else {
    const answer = await decode(message.question);
    scope.postMessage({ number, answer }, answer.masks.map((mask) => mask.buffer));
  }
}

/** Makes a picture the newest of those kept. */
async function hold(id: string, values: Float32Array | undefined, shape: number[]): Promise<void> {
  let picture = pictures.get(id);
  if (!picture) {
    if (!values) throw new Error("The decoder no longer holds this image; open it again.");
    const embeddings = new ort.Tensor("float32", values, shape);
    picture = { embeddings, side: await imageSide(embeddings) };
  }
  pictures.delete(id);
  pictures.set(id, picture);
  for (const old of [...pictures.keys()].slice(0, -PICTURES_KEPT)) pictures.delete(old);
}

/** What the decoder needs of an image, for prompts without a mask or with this one. */
function imageSide(embeddings: ort.Tensor, mask?: Float32Array): Promise<Tensors> {
  const side = 4 * embeddings.dims[3]!;
  return opened().image.run({
    image_embeddings: embeddings,
    mask_input: new ort.Tensor("float32", mask ?? new Float32Array(side * side), [1, 1, side, side]),
    has_mask_input: new ort.Tensor("float32", Float32Array.of(mask ? 1 : 0), [1]),
  });
}

async function decode({ picture, coords, labels, mask, grid, several }: Question) {
  const held = pictures.get(picture);
  if (!held) throw new Error("The decoder does not hold this image; open it again.");
  const cells = cellsOf(grid, held.embeddings.dims[3]!);
  const answer = await opened().prompt.run({
    ...(mask ? await imageSide(held.embeddings, mask) : held.side),
    point_coords: new ort.Tensor("float32", coords, [1, labels.length, 2]),
    point_labels: new ort.Tensor("float32", labels, [1, labels.length]),
    cells: new ort.Tensor("int64", cells, [cells.length]),
  });
  const values = (name: string): Float32Array => answer[name]!.data as Float32Array;
  return candidatesOf(values("cell_masks"), values("iou_predictions"), grid, several);
}

function opened(): NonNullable<typeof sessions> {
  if (!sessions) throw new Error("The decoder is not loaded.");
  return sessions;
}
