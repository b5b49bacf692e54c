// Runs the steps of benches/wasm.rs over one file and prints a line of JSON: processor time of this thread (Linux), or time.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const file = fs.openSync(process.argv[2], 'r');
const size = fs.fstatSync(file).size;
globalThis.readAt = (at, length) => {
  const buffer = new Uint8Array(length);
  return buffer.subarray(0, fs.readSync(file, buffer, 0, length, at));
};

// Two instances of the module, as the page's workers have: a helper that reads parts and the engine.
const glue = path.join(__dirname, 'bench.js');
function instance() {
  delete require.cache[glue];
  require(glue);
  return globalThis.bench;
}
const helper = instance();
const engine = instance();

function now() {
  try {
    return Number(fs.readFileSync('/proc/thread-self/schedstat', 'ascii').split(' ')[0]) / 1e9;
  } catch {
    return performance.now() / 1e3;
  }
}
const result = { file: path.basename(process.argv[2]), mb: size / 1e6, read_s: 0, join_s: 0 };
function timed(key, step) {
  const begin = now();
  const out = step();
  result[key] = (result[key] ?? 0) + now() - begin;
  return out;
}

async function main() {
  // The page is open for a moment before a file is dropped, and warms up in steps between which V8 may finish compiling.
  for (let step = 0; helper('warm', step); step++) await new Promise((go) => setTimeout(go, 0));
  const parts = helper('plan', size);
  engine('plan', size);
  for (let part = 0; part < parts; part++) {
    const packed = timed('read_s', () => helper('part', part));
    timed('join_s', () => engine('join', 0, packed));
    await new Promise((go) => setTimeout(go, 0));
  }
  if (parts > 0) timed('join_s', () => engine('joined', 0));
  else timed('read_s', () => engine('whole', size));
  timed('finish_s', () => engine('finish', 0));
  timed('view_s', () => engine('view', 0));
  timed('change_s', () => engine('change', 0));
  result.helper_mb = helper('memory', 0) / 1e6;
  result.engine_mb = engine('memory', 0) / 1e6;
  console.log(JSON.stringify(result));
}
main();
