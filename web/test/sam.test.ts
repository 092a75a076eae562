import { afterEach, describe, expect, it, vi } from "vitest";
import type { FromWorker, ToWorker } from "../src/decoder/messages";
import { toBase64, toFloat16 } from "../src/model/decoding";
import { Cancelled, SamSession } from "../src/model/sam";

const INFO = { id: "a", model: "m", original_size: [32, 64] as [number, number], image_size: 64 };
const POINT = { points: [{ x: 1, y: 2, label: 1 as const }] };

/** A worker that holds two pictures and answers when told to. */
class FakeWorker {
  static asked: (() => void)[] = [];
  static held: string[] = [];
  static broken = false;
  onmessage: ((event: { data: FromWorker }) => void) | null = null;
  onerror: (() => void) | null = null;

  postMessage(message: ToWorker): void {
    const { number } = message;
    const answer = (data: FromWorker): void => queueMicrotask(() => this.onmessage?.({ data }));
    if (FakeWorker.broken) return answer({ number, problem: "no WebAssembly" });
    if (message.kind === "picture") FakeWorker.held = [...FakeWorker.held.filter((id) => id !== message.id), message.id].slice(-2);
    if (message.kind !== "ask") return answer({ number, held: FakeWorker.held });
    const masks = [new Float32Array(16 * 2 * 4)];
    FakeWorker.asked.push(() => answer({ number, answer: { ious: [1.25], masks } }));
  }

  terminate(): void {}
}

function server() {
  const mask = toBase64(new Uint8Array(toFloat16(new Float32Array(256).fill(2)).buffer));
  return {
    models: vi.fn(async () => ({ default: "m", models: [], decoder: { url: "d" } })),
    embedding: vi.fn(async () => ({ data: new ArrayBuffer(8), shape: [1, 1, 2, 2] })),
    predict: vi.fn(async () => ({ masks: [{ predicted_iou: 0.5, stability_score: 0.25, low_res_mask: mask }] })),
  };
}

async function open(broken = false) {
  [FakeWorker.asked, FakeWorker.held, FakeWorker.broken] = [[], [], broken];
  vi.stubGlobal("Worker", FakeWorker);
  vi.stubGlobal("crossOriginIsolated", true);
  vi.stubGlobal("navigator", { hardwareConcurrency: 2 });
  vi.stubGlobal("fetch", async () => new Response(new ArrayBuffer(4)));
  const api = server();
  return { api, session: await SamSession.create(api) };
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("SamSession", () => {
  it("answers in the browser, over the cells that the picture covers", async () => {
    const { session } = await open();
    await session.setImage(INFO);
    const prediction = session.predict(POINT);
    await vi.waitFor(() => expect(FakeWorker.asked.length).toBe(1));
    FakeWorker.asked[0]!();
    const [best] = (await prediction).candidates;
    expect(session.backend.value).toBe("wasm");
    expect([best!.lowRes.rows, best!.lowRes.columns, best!.predictedIou]).toEqual([8, 16, 1]);
  });

  it("cancels the older of two prompts that wait, never the one that is being answered", async () => {
    const { session } = await open();
    await session.setImage(INFO);
    const answers = [session.predict(POINT), session.predict(POINT), session.predict(POINT)];
    await expect(answers[1]).rejects.toBeInstanceOf(Cancelled);
    await vi.waitFor(() => expect(FakeWorker.asked.length).toBe(1));
    FakeWorker.asked[0]!();
    await answers[0];
    await vi.waitFor(() => expect(FakeWorker.asked.length).toBe(2));
    FakeWorker.asked[1]!();
    expect((await answers[2]!).candidates.length).toBe(1);
  });

  it("fetches the embedding of an image again only when the worker has let it go", async () => {
    const { api, session } = await open();
    for (const id of ["a", "b", "a", "c", "b"]) await session.setImage({ ...INFO, id });
    expect(api.embedding.mock.calls.map(([id]: unknown[]) => id)).toEqual(["a", "b", "c", "b"]);
  });

  it("asks the server where the decoder cannot start", async () => {
    const { api, session } = await open(true);
    await session.setImage(INFO);
    const { candidates } = await session.predict({ ...POINT, box: [0, 0, 5, 5] });
    expect(session.backend.value).toBe("server");
    expect(candidates[0]!.lowRes.rows).toBe(8);
    expect([...new Set(candidates[0]!.lowRes.data)]).toEqual([2]);
    expect(api.predict.mock.calls[0]).toEqual([
      expect.objectContaining({ embedding: "a", boxes: [0, 0, 5, 5], point_coords: [[1, 2]], multimask_output: false }),
    ]);
  });

  it("answers nothing before an image is open", async () => {
    const { session } = await open();
    await expect(session.predict(POINT)).rejects.toThrow("No image is open.");
  });
});
