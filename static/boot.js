// Compiles each module once, for the page and its workers. In the single file everything is in this document; on a host it lies
// beside it. The page uses globalThis.hotspan: { newWorker(whole), sample(name) }.
(() => {
  'use strict';
  // The modules of the workers: one with what most files need, and the whole one. A page that Trunk builds is one for all.
  const { first = 'hotspan', whole = first } = document.currentScript.dataset;
  const inline = (id) => document.getElementById(id)?.textContent;
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  // (module (func (result v128) i32.const 0 i8x16.splat)): whether this browser runs what the page is compiled to.
  const simd = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11);
  const why = (error) => {
    if (typeof WebAssembly !== 'object') return 'this browser has no WebAssembly';
    return WebAssembly.validate(simd) ? error : 'this browser has no WebAssembly SIMD, which a page built with --no-simd does without';
  };
  const fail = (error) => {
    document.documentElement.dataset.state = 'error';
    document.getElementById('app').textContent =
      `hotspan could not start: ${why(error)}. It needs a browser with WebAssembly (Chrome, Edge, Firefox or Safari of the last years).`;
  };

  async function compile(name) {
    const packed = inline(`${name}-wasm`);
    if (packed) {
      const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream('gzip'));
      return WebAssembly.compile(await new Response(stream).arrayBuffer());
    }
    const response = await fetch(`${name}_bg.wasm`);
    if (!response.ok) throw new Error(`${name}_bg.wasm: ${response.status}`);
    // A host may serve wasm with another type, which streaming refuses.
    if ((response.headers.get('content-type') || '').startsWith('application/wasm')) return WebAssembly.compileStreaming(response);
    return WebAssembly.compile(await response.arrayBuffer());
  }

  const modules = new Map();
  function module(name) {
    if (!modules.has(name)) {
      const compiled = compile(name);
      // What could not be had is asked for again the next time.
      compiled.catch(() => modules.delete(name));
      modules.set(name, compiled);
    }
    return modules.get(name);
  }

  async function starter(name) {
    const text = inline(`${name}-glue`) || (await (await fetch(`${name}.js`)).text());
    const start = '\nself.onmessage = (e) => { self.onmessage = null; wasm_bindgen({ module_or_path: e.data }); };\n';
    return URL.createObjectURL(new Blob([text, start], { type: 'text/javascript' }));
  }

  async function start() {
    const page = module('hotspan');
    const [forFirst, forWhole] = await Promise.all([starter(first), starter(whole)]);
    globalThis.hotspan = {
      newWorker(all) {
        const worker = new Worker(all ? forWhole : forFirst);
        // Only when the page itself is there does it ask for this: it does not share the line with what comes later.
        module(all ? whole : first).then(
          (compiled) => worker.postMessage(compiled),
          (error) => (all ? worker.dispatchEvent(new MessageEvent('message', { data: { unavailable: String(error) } })) : fail(error)),
        );
        return worker;
      },
      async sample(name) {
        const data = document.querySelector(`script[data-sample="${CSS.escape(name)}"]`);
        if (data) return bytes(data.textContent);
        const response = await fetch(`samples/${encodeURIComponent(name)}`);
        if (!response.ok) throw new Error(`samples/${name}: ${response.status}`);
        return new Uint8Array(await response.arrayBuffer());
      },
    };
    await wasm_bindgen({ module_or_path: await page });
  }

  start().catch(fail);
})();
