/**
 * Writes the innermost loops of `products.ts`: some rows of C at once, 8 columns at a time, all sums in registers. The
 * language has no loops that vanish in the compiler, and these must: 14 sums of four numbers are all that a processor
 * with 16 registers holds beside what it multiplies. Four steps at once are fastest; eight no longer fit.
 */
const STEPS = 4;

export function rowsSource(counts) {
  return [`import { ROW, madd } from "../kernels/lanes";\n`, ...counts.map(rows)].join("\n");
}

function rows(count) {
  const each = (line) => Array.from({ length: count }, (_, row) => line(row)).join("\n");
  const steps = Array.from({ length: STEPS }, (_, step) => {
    const [own, next] = [`v128.load(at, ${256 * step})`, `v128.load(at, ${256 * step + 16})`];
    const row = (number) => `s = v128.load32_splat(a${number}, ${4 * step});
      x${number} = madd(s, p, x${number});
      y${number} = madd(s, q, y${number});`;
    return `p = ${own};\n      q = ${next};\n      ${each(row)}`;
  });
  return `
/** C (${count} x 64, rows \`cs\` bytes apart) += A (${count} x k, rows \`as_\` bytes apart) B. */
export function rows${count}(c: usize, cs: usize, a: usize, as_: usize, b: usize, k: i32): void {
  for (let column: usize = 0; column < ROW; column += 32) {
    ${each((row) => `const c${row} = c + column + ${row} * cs;
    let a${row} = a + ${row} * as_;
    let x${row} = v128.load(c${row});
    let y${row} = v128.load(c${row}, 16);`)}
    let at = b + column;
    let p: v128, q: v128, s: v128;
    for (let left = k; left > 0; left -= ${STEPS}) {
      ${steps.join("\n      ")}
      at += ${STEPS} * ROW;
      ${each((row) => `a${row} += ${4 * STEPS};`)}
    }
    ${each((row) => `v128.store(c${row}, x${row});
    v128.store(c${row}, y${row}, 16);`)}
  }
}
`;
}
