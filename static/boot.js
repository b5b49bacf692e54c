// Compiles the wasm once, for the page and its worker. In the single file everything is in this document;
// on a host it lies beside it. The page uses globalThis.hotspan: { newWorker(), sample(name) }.
(() => {
  'use strict';
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

  async function compile() {
    const packed = inline('hotspan-wasm');
    if (packed) {
      const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream('gzip'));
      return WebAssembly.compile(await new Response(stream).arrayBuffer());
    }
    const response = await fetch('hotspan_bg.wasm');
    if (!response.ok) throw new Error(`hotspan_bg.wasm: ${response.status}`);
    // A host may serve wasm with another type, which streaming refuses.
    if ((response.headers.get('content-type') || '').startsWith('application/wasm')) return WebAssembly.compileStreaming(response);
    return WebAssembly.compile(await response.arrayBuffer());
  }

  async function start() {
    const packed = inline('hotspan-glue');
    const glue = packed ? Promise.resolve(packed) : fetch('hotspan.js').then((r) => r.text());
    const [module, text] = await Promise.all([compile(), glue]);
    const starter = '\nself.onmessage = (e) => { self.onmessage = null; wasm_bindgen({ module_or_path: e.data }); };\n';
    const url = URL.createObjectURL(new Blob([text, starter], { type: 'text/javascript' }));
    globalThis.hotspan = {
      newWorker() {
        const worker = new Worker(url);
        worker.postMessage(module);
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
    await wasm_bindgen({ module_or_path: module });
  }

  start().catch(fail);
})();
