import { expect, it } from "vitest";
import { colour } from "../src/canvas/outline";

const [FILL, EDGE, HALO] = [1, 2, 3];

/** Pixel by pixel, as the words say it. */
function plainly(inside: Uint8Array, width: number, height: number, rim: number, halo: number): number[] {
  const stride = width + 2 * rim;
  return Array.from({ length: width * height }, (_, to) => {
    const at = (Math.floor(to / width) + rim) * stride + (to % width) + rim;
    const near = Array.from({ length: rim }, (_, step) => [step + 1, -step - 1, (step + 1) * stride, (-step - 1) * stride]).flat();
    const around = near.map((step) => inside[at + step]!);
    if (inside[at]) return around.includes(0) ? EDGE : FILL;
    return around.includes(1) ? halo : 0;
  });
}

it.each([
  [1, 0, 0.5],
  [1, HALO, 0.9],
  [2, HALO, 0.95],
  [3, HALO, 0.1],
])("paints every pixel as its neighbours say, with a rim of %i and a halo of %i", (rim, halo, share) => {
  let seed = 7;
  const random = (): number => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const [width, height] = [23, 17];
  const inside = Uint8Array.from({ length: (width + 2 * rim) * (height + 2 * rim) }, () => Number(random() < share));
  const pixels = new Uint32Array(width * height);
  colour(pixels, inside, width, height, rim, { fill: FILL, edge: EDGE, halo });
  expect([...pixels]).toEqual(plainly(inside, width, height, rim, halo));
});
