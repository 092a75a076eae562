/**
 * Compiles the kernels into web/build: one file for engines with relaxed SIMD, which has fused multiplications, and one
 * for all others. As a plugin of Vite it does so before anything is built or tested.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { main } from "assemblyscript/asc";
import { rowsSource } from "./rows.mjs";

const HERE = import.meta.dirname;
const TARGETS = { "kernels.wasm": [], "kernels_relaxed.wasm": ["--enable", "relaxed-simd"] };
// 16384 pages are the 1 GB of `MOST_PAGES` in src/decoder/decoder.ts: memory and module must agree.
const OPTIONS = ["-O3", "--runtime", "stub", "--noAssert", "--importMemory", "--sharedMemory"];
const SIZES = ["--initialMemory", "1", "--maximumMemory", "16384", "--enable", "simd", "--enable", "threads"];

async function compile() {
  mkdirSync(join(HERE, "../build"), { recursive: true });
  writeFileSync(join(HERE, "../build/rows.ts"), rowsSource([3, 4, 6, 7]));
  for (const [name, features] of Object.entries(TARGETS)) {
    const out = ["--outFile", join("../build", name)];
    const { error, stderr } = await main(["index.ts", "--baseDir", HERE, ...out, ...OPTIONS, ...SIZES, ...features]);
    if (error) throw new Error(`${stderr.toString()}${error.message}`);
  }
}

let compiled;

export const kernels = () => ({ name: "kernels", config: () => (compiled ??= compile()) });
