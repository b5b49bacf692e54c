//! The module of `benches/wasm.rs`: the steps of a page's workers, called by `benches/wasm.cjs`. An example and not a benchmark
//! to cargo, so that it is compiled as the page is, with panics that abort.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and a failure in it is its result")]

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    println!("run it as `cargo xtask bench --wasm`");
}

#[cfg(target_arch = "wasm32")]
fn main() {
    wasm::offer();
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    use hotspan::engine::parts::{HEAD_BYTES, Joiner, MIN_BYTES, Partial, Plan, plan, read_part};
    use hotspan::engine::protocol::flame::FlameMode;
    use hotspan::engine::protocol::traces::TraceQuery;
    use hotspan::engine::protocol::{Request, SampleQuery};
    use hotspan::engine::{Engine, carried, warm};
    use js_sys::{Function, Reflect, Uint8Array};
    use std::io::Read;
    use wasm_bindgen::prelude::Closure;
    use wasm_bindgen::{JsCast, JsValue};

    /// Bytes per part and per read, as the page has them.
    const PART_BYTES: u64 = 12 << 20;
    const SLICE_BYTES: f64 = (4 << 20) as f64;

    #[derive(Default)]
    struct Bench {
        engine: Engine,
        plan: Option<Plan>,
        joiner: Option<Joiner>,
    }

    /// Gives the script a function `bench(step, number, bytes)`.
    pub fn offer() {
        // What the page starts with.
        carried::install(&carried::FIRST);
        let mut bench = Bench::default();
        let step = Closure::<dyn FnMut(String, f64, Option<Uint8Array>) -> JsValue>::new(move |step: String, number: f64, bytes| {
            bench.step(&step, number, bytes)
        });
        Reflect::set(&js_sys::global(), &"bench".into(), step.as_ref()).unwrap();
        step.forget();
    }

    impl Bench {
        fn step(&mut self, step: &str, number: f64, bytes: Option<Uint8Array>) -> JsValue {
            let Bench { engine, plan: planned, joiner } = self;
            match step {
                "warm" => return JsValue::from_bool(warm::step(number as usize)),
                // How many parts the file of this size has; 0 when it is read in one piece.
                "plan" => {
                    let (size, mut head) = (number as u64, Vec::new());
                    Slices::at(0, number).take(HEAD_BYTES as u64).read_to_end(&mut head).unwrap();
                    *planned = if size < MIN_BYTES { None } else { plan(&head, size, PART_BYTES) };
                    *joiner = planned.as_ref().and_then(|plan| Joiner::new(&mut engine.session, plan, "", size));
                    return JsValue::from_f64(planned.as_ref().map_or(0.0, |plan| plan.cuts.len() as f64));
                }
                "part" => {
                    let plan = planned.as_ref().unwrap();
                    let open = |at: u64| Ok(Box::new(Slices::at(at, f64::MAX)) as Box<dyn Read>);
                    let part = read_part(plan, plan.range(number as usize), None, open, &mut |_| true).unwrap();
                    return Uint8Array::from(&part.pack()[..]).into();
                }
                "join" => {
                    let plan = planned.as_ref().unwrap();
                    let part = Partial::unpack(plan, &bytes.unwrap().to_vec()).unwrap();
                    assert_eq!(
                        joiner.as_mut().unwrap().add(part, &mut engine.session),
                        None,
                        "every part begins where its predecessor ends"
                    );
                }
                "joined" => joiner.take().unwrap().finish(&mut engine.session),
                "whole" => engine.open("", number as u64, Box::new(Slices::at(0, number)), &mut |_| true),
                "finish" => engine.finish(),
                "view" => view(engine, false),
                "change" => view(engine, true),
                "memory" => {
                    let memory = wasm_bindgen::memory();
                    let buffer = Reflect::get(&memory, &"buffer".into()).unwrap();
                    return Reflect::get(&buffer, &"byteLength".into()).unwrap();
                }
                other => panic!("there is no step {other}"),
            }
            assert!(engine.session.sources.iter().all(|source| source.error.is_none()));
            JsValue::UNDEFINED
        }
    }

    /// The first view, or one after a change: of one thread, or of the traces that a search finds.
    fn view(engine: &mut Engine, change: bool) {
        let requests = if let Some(profile) = engine.session.profiles.first() {
            let thread = change.then_some(0).filter(|_| !profile.threads.is_empty());
            let query = SampleQuery { value: profile.default_value as u32, thread, ..SampleQuery::default() };
            vec![Request::Summary, Request::Flame { query, mode: FlameMode::Merged }]
        } else {
            let search = if change { "load".to_string() } else { String::new() };
            let query = TraceQuery { limit: 200, descending: true, search, ..TraceQuery::default() };
            vec![Request::Summary, Request::TraceList { query }, Request::Services]
        };
        for request in &requests {
            engine.handle(request).unwrap();
        }
    }

    /// The script's file, as `web::slices` reads one of the browser.
    struct Slices {
        at: f64,
        size: f64,
        chunk: Uint8Array,
        used: u32,
    }

    impl Slices {
        fn at(at: u64, size: f64) -> Slices {
            Slices { at: at as f64, size, chunk: Uint8Array::new_with_length(0), used: 0 }
        }
    }

    impl Read for Slices {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            if self.used >= self.chunk.length() {
                let length = SLICE_BYTES.min(self.size - self.at);
                let read: Function = Reflect::get(&js_sys::global(), &"readAt".into()).unwrap().unchecked_into();
                self.chunk = read.call2(&JsValue::NULL, &self.at.into(), &length.into()).unwrap().unchecked_into();
                self.at += f64::from(self.chunk.length());
                self.used = 0;
            }
            let n = (buf.len() as u32).min(self.chunk.length() - self.used);
            self.chunk.subarray(self.used, self.used + n).copy_to(&mut buf[..n as usize]);
            self.used += n;
            Ok(n as usize)
        }
    }
}
