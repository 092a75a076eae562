/**
 * The page of benchmarks/browser_click.py: every click on the canvas is answered and painted, by the app's session or
 * by the plain decoder, and both ways are timed from the event to the drawn canvas and to the next frame.
 */
import type { Api } from "../src/project/api";
import { cropped, fromFloat16, isAmbiguous, overSquare, pointsOf } from "../src/model/decoding";
import { BLANK, type Draft } from "../src/document";
import { drafted } from "../src/canvas/looks";
import { Prompter } from "../src/model/prompter";
import { Resize } from "../src/model/resize";
import { SamSession } from "../src/model/sam";
import type { LowRes, Prediction, Prompt } from "../src/model/segmenter";
import { CandidateShape } from "../src/masks/shapes";
import { Sprite } from "../src/canvas/sprite";
import type { EmbeddingInfo } from "../src/project/types";
import { Viewport } from "../src/canvas/viewport";
import type { ToPlain } from "./plain.worker";

/**
 * "hover": the pointer rests where it will click, as hands do, and the app shows a preview meanwhile. "press": the button
 * is down for a while, and the app has begun when it goes up, from when on is timed.
 */
type Side = "opensam" | "hover" | "press" | "plain";

export interface Timing {
  side: Side;
  refined: boolean;
  /** Of the click. */
  place: string;
  decoded: number;
  drawn: number;
  frame: number;
  logits: LowRes;
}

declare global {
  interface Window {
    bench: { side: Side; refine: LowRes | null; ready: boolean; timings: Timing[]; problem: string | null; imageSide: number[] };
  }
}

window.bench = { side: "opensam", refine: null, ready: false, timings: [], problem: null, imageSide: [] };
const canvas = document.querySelector<HTMLCanvasElement>("#canvas")!;

start().catch((error: unknown) => (window.bench.problem = String(error)));

async function start(): Promise<void> {
  const info = (await (await fetch("/info.json")).json()) as EmbeddingInfo & { shape: number[] };
  const data = await (await fetch("/embedding.bin")).arrayBuffer();
  const server = {
    models: async () => ({ decoder: { url: "/decoder.safetensors" } }),
    embedding: async () => ({ data, shape: info.shape }),
    predict: () => Promise.reject(new Error("The benchmark has no server.")),
  } as unknown as Api;
  const session = await SamSession.create(server);
  if (session.backend.value !== "wasm") throw new Error("the decoder did not start in this browser");
  // Another name each time: the image side is made anew. The last one is `info` itself.
  for (const id of ["one", "two", "three", info.id]) {
    const before = performance.now();
    await session.setImage({ ...info, id });
    window.bench.imageSide.push(performance.now() - before);
  }
  const plain = await openPlain(fromFloat16(new Uint16Array(data)), info.shape);
  const resize = new Resize(info.original_size, info.image_size);
  const [height, width] = info.original_size;
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d")!;
  const view = new Viewport(() => {});
  view.resize(width, height, 1);
  view.show(width, height);

  const prompter = new Prompter(session);
  const shapeOf = (logits: LowRes): CandidateShape =>
    new CandidateShape({ predictedIou: 0, stabilityScore: 0, lowRes: logits }, [height, width]);
  const promptOf = ({ offsetX: x, offsetY: y }: MouseEvent): Prompt => ({ points: [{ x, y, label: 1 }] });
  const draftOf = ({ points, maskInput }: Prompt): Draft => ({ ...BLANK, points, refines: maskInput ?? null });

  canvas.addEventListener("pointermove", (event) => {
    if (window.bench.side !== "hover") return;
    prompter.preview(promptOf(event), ({ candidates: [best] }) => paint(context, view, shapeOf(best!.lowRes)));
  });

  canvas.addEventListener("pointerdown", (event) => {
    if (window.bench.side === "press") prompter.anticipate(draftOf(questionOf(event)));
    else void time(event);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (window.bench.side === "press") void time(event);
  });

  function questionOf(event: MouseEvent): Prompt {
    const { refine } = window.bench;
    return { ...promptOf(event), ...(refine && { maskInput: refine }) };
  }

  async function time(event: MouseEvent): Promise<void> {
    const { side, refine } = window.bench;
    const prompt = questionOf(event);
    const started = event.timeStamp;
    const logits = await askers[side](prompt);
    const decoded = performance.now() - started;
    paint(context, view, shapeOf(logits));
    const drawn = performance.now() - started;
    prompter.forget(); // the next way clicks on the same place
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel(); // the first task after the frame was made
      port2.onmessage = (): void => {
        const frame = performance.now() - started;
        window.bench.timings.push({ side, refined: refine !== null, place: JSON.stringify(prompt.points), decoded, drawn, frame, logits });
      };
      port1.postMessage(null);
    });
  }
  const best = (prediction: Prediction | null): LowRes => prediction!.candidates[0]!.lowRes;
  const askers: Record<Side, (prompt: Prompt) => Promise<LowRes>> = {
    opensam: async (prompt) => best(await session.predict(prompt)),
    hover: async (prompt) => best(await prompter.ask(draftOf(prompt))),
    press: async (prompt) => best(await prompter.ask(draftOf(prompt))),
    plain: askPlain,
  };
  window.bench.ready = true;

  async function askPlain(prompt: Prompt): Promise<LowRes> {
    const cells = info.image_size / 16;
    const mask = prompt.maskInput ? overSquare(prompt.maskInput, cells) : null;
    const { ious, masks } = await plain({ kind: "ask", ...pointsOf(prompt, resize), mask });
    const best = isAmbiguous(prompt) ? [1, 2, 3].reduce((one, other) => (ious[other]! > ious[one]! ? other : one)) : 0;
    const size = 16 * cells * cells;
    return cropped(masks.subarray(best * size, (best + 1) * size), 4 * cells, resize.gridSize);
  }
}

type AskPlain = (question: ToPlain) => Promise<{ ious: Float32Array; masks: Float32Array }>;

async function openPlain(embeddings: Float32Array, shape: number[]): Promise<AskPlain> {
  const worker = new Worker(new URL("./plain.worker.ts", import.meta.url), { type: "module" });
  const ask: AskPlain = (question) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(question);
    });
  const model = await (await fetch("/decoder_plain.onnx")).arrayBuffer();
  const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1;
  await ask({ kind: "open", model, embeddings, shape, threads });
  return ask;
}

/** As the editor does it. */
function paint(context: CanvasRenderingContext2D, view: Viewport, shape: CandidateShape): void {
  const sprite = new Sprite(shape, drafted(0.5));
  sprite.refresh(view);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  sprite.draw(context, view);
}
