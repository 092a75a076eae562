/**
 * The first thread of the decoder. What it needs of a picture is made once and kept for the last few pictures, so that
 * going back to one is instant. The page asks one thing at a time.
 */
import { Checkpoint } from "./checkpoint";
import { Decoder, MOST_PAGES, PICTURES_KEPT, type Thread } from "./decoder";
import { compiled } from "./kernels";
import type { FromWorker, Question, ToHelper, ToWorker } from "./messages";

let decoder: Decoder;
let helpers: Worker[] = [];
/** Names of the pictures held and their slots, the oldest first. */
const slots = new Map<string, number>();
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
    await open(Checkpoint.read(message.weights), message.threads);
    scope.postMessage({ number, held: [] });
  } else if (message.kind === "picture") {
    hold(message.id, message.embeddings, message.grid);
    scope.postMessage({ number, held: [...slots.keys()] });
  } else {
    const answer = decode(message.question);
    scope.postMessage({ number, answer }, answer.masks.map((mask) => mask.buffer));
  }
}

async function open(checkpoint: Checkpoint, threads: number): Promise<void> {
  const { header } = checkpoint;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: MOST_PAGES, shared: true });
  Decoder.reserve(header, memory, threads);
  const thread: Thread = { module: await compiled(), memory, header, number: 0, threads };
  decoder = new Decoder(thread, checkpoint);
  helpers = Array.from({ length: threads - 1 }, () => new Worker(new URL("./helper.worker.ts", import.meta.url), { type: "module" }));
  const joined = helpers.map(
    (helper) =>
      new Promise<void>((resolve, reject) => {
        helper.onmessage = (): void => resolve();
        helper.onerror = (event): void => reject(new Error(event.message));
      }),
  );
  helpers.forEach((helper, place) => tell(helper, { kind: "join", thread: { ...thread, number: place + 1 } }));
  await Promise.all(joined);
  decoder.start();
}

/** Makes a picture the newest of those kept. */
function hold(id: string, embeddings: Float32Array | undefined, grid: [number, number]): void {
  let slot = slots.get(id);
  if (slot === undefined) {
    if (!embeddings) throw new Error("The decoder no longer holds this image; open it again.");
    const oldest = slots.size < PICTURES_KEPT ? undefined : [...slots.keys()][0]!;
    slot = oldest === undefined ? slots.size : slots.get(oldest)!;
    if (oldest !== undefined) slots.delete(oldest);
    decoder.bring(slot, embeddings, grid);
    for (const helper of helpers) tell(helper, { kind: "project", slot, grid });
    decoder.project(slot, grid);
  }
  slots.delete(id);
  slots.set(id, slot);
}

function decode({ picture, coords, labels, mask, several }: Question) {
  const slot = slots.get(picture);
  if (slot === undefined) throw new Error("The decoder does not hold this image; open it again.");
  const task = { slot, coords, labels, masked: mask !== undefined, several };
  if (mask) decoder.bringMask(mask);
  decoder.makeRoom(labels.length);
  for (const helper of helpers) tell(helper, { kind: "decode", task });
  return decoder.decode(task);
}

function tell(helper: Worker, message: ToHelper): void {
  helper.postMessage(message);
}
