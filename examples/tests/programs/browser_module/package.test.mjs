// The package: what it consists of, and how large it is. Run by `node --test`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const read = (name) => readFileSync(new URL(name, pathToFileURL(process.env.MODULE)), "utf8");
const { exports, files, type, sideEffects, ...rest } = JSON.parse(read("package.json"));
const scripts = files.filter((name) => name.endsWith(".js"));

test("the package needs no build and no other package, and has all that it imports", () => {
  assert.deepEqual([type, sideEffects], ["module", false]);
  assert.ok(!("dependencies" in rest) && !("scripts" in rest));
  for (const path of Object.values(exports["."])) {
    assert.ok(files.includes(path.slice(2)), path);
  }
  for (const script of scripts) {
    for (const [, imported] of read(script).matchAll(/^import .* from "(.*)";$/gm)) {
      assert.ok(files.includes(imported.slice(2)), `${script} imports ${imported}`);
    }
  }
});

test("all of it takes no more than 8 KiB without comments, and 9 KiB with them", () => {
  const all = scripts.map(read).join("");
  const code = all.replace(/^ *(\/\/|\/\*\*|\*).*\n/gm, "");
  const size = (text) => gzipSync(text, { level: 9 }).length;
  assert.ok(size(code) <= 8 * 1024, `${size(code)}`);
  assert.ok(size(all) <= 9 * 1024, `${size(all)}`);
});
