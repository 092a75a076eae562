/** What the app is measured against: the plain decoder under the official contract, in a worker with the same runtime. */
import * as ort from "onnxruntime-web/wasm";
import glueUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

export type ToPlain =
  | { kind: "open"; model: ArrayBuffer; embeddings: Float32Array; shape: number[]; threads: number }
  | { kind: "ask"; coords: Float32Array; labels: Float32Array; mask: Float32Array | null };

let session: ort.InferenceSession;
let embeddings: ort.Tensor;

self.onmessage = async ({ data }: MessageEvent<ToPlain>): Promise<void> => {
  if (data.kind === "open") {
    ort.env.wasm.wasmPaths = { mjs: new URL(glueUrl, location.href).href, wasm: new URL(wasmUrl, location.href).href };
    ort.env.wasm.numThreads = data.threads;
    session = await ort.InferenceSession.create(data.model);
    embeddings = new ort.Tensor("float32", data.embeddings, data.shape);
    return self.postMessage(null);
  }
  const side = 4 * embeddings.dims[3]!;
  const count = data.labels.length;
  const answer = await session.run({
    image_embeddings: embeddings,
    point_coords: new ort.Tensor("float32", data.coords, [1, count, 2]),
    point_labels: new ort.Tensor("float32", data.labels, [1, count]),
    mask_input: new ort.Tensor("float32", data.mask ?? new Float32Array(side * side), [1, 1, side, side]),
    has_mask_input: new ort.Tensor("float32", Float32Array.of(data.mask ? 1 : 0), [1]),
    // The smallest answer: what it would take to enlarge masks is not held against it.
    orig_im_size: new ort.Tensor("float32", Float32Array.of(side, side), [2]),
  });
  self.postMessage({ ious: answer.iou_predictions!.data, masks: answer.low_res_masks!.data });
};
