/**
 * What the mask decoder spends its time on, for WebAssembly with 128-bit SIMD; compiled by AssemblyScript.
 *
 * Everything about image cells lies in tiles: matrices of some rows and 64 columns (cells), row by row without gaps, so
 * a row has 256 bytes. All addresses are in bytes, all values float32. Nothing here allocates.
 */
export * from "./products";
export * from "./pointwise";
