// What the Node programs say: sizes around each threshold, of what gets shorter and what does not.
"use strict";

const { randomBytes } = require("node:crypto");

const SIZES = [0, 1, 125, 126, 1023, 1024, 1025, 65535, 65536, 1 << 20];

// Each twice, as a window that is kept makes a difference for the second.
function* messages() {
  for (const size of SIZES) {
    const plain = '{"id":17,"name":"somebody","online":true},'.repeat(size / 40 + 1).slice(0, size);
    const letters = "ż日😀".repeat(size / 9);
    const filled = letters + "x".repeat(size - Buffer.byteLength(letters));
    for (let again = 0; again < 2; again++) yield* [plain, filled, randomBytes(size)];
  }
}

module.exports = { messages };
