/**
 * The decoder of the browser against the plain decoder of the Python side: `tests/web/test_web_decoder.py` writes weights,
 * embeddings, prompts and answers into a folder and names it in OPENSAM_DECODER_CASES.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { Checkpoint } from "../src/decoder/checkpoint";
import { Decoder, MOST_PAGES } from "../src/decoder/decoder";

const FOLDER = process.env.OPENSAM_DECODER_CASES;

interface Case {
  name: string;
  picture: string;
  grid: [number, number];
  points: [number, number][];
  labels: number[];
  mask: string | null;
  /** (4, 4 * rows, 4 * columns) logits, and as many predicted IoUs. */
  masks: string;
  ious: number[];
}

function bytes(name: string): ArrayBuffer {
  return new Uint8Array(readFileSync(join(FOLDER!, name))).buffer;
}

const cases = FOLDER ? (JSON.parse(readFileSync(join(FOLDER, "cases.json"), "utf8")) as Case[]) : [];

describe.skipIf(!FOLDER)("the decoder", () => {
  let decoder: Decoder;
  beforeAll(async () => {
    const checkpoint = Checkpoint.read(bytes("decoder.safetensors"));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: MOST_PAGES, shared: true });
    Decoder.reserve(checkpoint.header, memory, 1);
    // Node.js 20 has no relaxed SIMD.
    const module = await WebAssembly.compile(readFileSync(join(import.meta.dirname, "../build/kernels.wasm")));
    decoder = new Decoder({ module, memory, header: checkpoint.header, number: 0, threads: 1 }, checkpoint);
    decoder.start();
  });

  it.each(cases)("gives the masks of the plain decoder: $name", (one) => {
    // A slot of its own for each picture: what is made of one must not reach another.
    const slot = [...new Set(cases.map(({ picture }) => picture))].indexOf(one.picture);
    decoder.bring(slot, new Float32Array(bytes(one.picture)), one.grid);
    decoder.project(slot, one.grid);
    if (one.mask) decoder.bringMask(new Float32Array(bytes(one.mask)));
    decoder.makeRoom(one.labels.length);
    const task = { slot, coords: Float32Array.from(one.points.flat()), labels: Float32Array.from(one.labels), masked: !!one.mask };
    const expected = new Float32Array(bytes(one.masks));
    const size = expected.length / 4;
    for (const several of [true, false]) {
      const wanted = several ? [1, 2, 3].sort((a, b) => one.ious[b]! - one.ious[a]!) : [0];
      const { ious, masks } = decoder.decode({ ...task, several });
      expect(masks.length).toBe(wanted.length);
      wanted.forEach((number, place) => {
        expect(ious[place]).toBeCloseTo(one.ious[number]!, 4);
        let worst = 0;
        for (let at = 0; at < size; at++) worst = Math.max(worst, Math.abs(masks[place]![at]! - expected[number * size + at]!));
        expect(worst).toBeLessThan(2e-3); // logits reach about 20
      });
    }
  });
});
