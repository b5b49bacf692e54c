//! Messages between page and worker: plain objects with a JSON head and transferred typed arrays.

use crate::base::slabs::{Slab, Slabs};
use crate::engine::protocol::stage::Stage;
use js_sys::{Array, Float32Array, Float64Array, Object, Reflect, Uint8Array, Uint32Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};

/// How far one file is; the worker posts it at most ten times a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileProgress {
    /// Position in the drop.
    pub file: usize,
    /// Bytes consumed of the file as given.
    pub bytes: f64,
    /// Rows read.
    pub rows: u64,
    /// What is being done.
    #[serde(default)]
    pub stage: Stage,
    /// Steps of a stage that are done, and all of them; 0 of 0 for stages without steps.
    #[serde(default)]
    pub steps: (usize, usize),
}

/// Sets a property of a plain object; this cannot fail on an object of our own.
pub fn set(object: &Object, key: &str, value: &JsValue) {
    let _ = Reflect::set(object, &JsValue::from_str(key), value);
}

/// A property, `undefined` if absent.
pub fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(key)).unwrap_or(JsValue::UNDEFINED)
}

/// A message as an object with `head` and `slabs`, and the buffers to transfer.
pub fn to_js(message: Slabs) -> (Object, Array) {
    let (slabs, transfer) = (Array::new(), Array::new());
    for slab in message.slabs {
        let (array, buffer): (JsValue, JsValue) = match slab {
            Slab::U8(v) => {
                let a = Uint8Array::from(&v[..]);
                (a.clone().into(), a.buffer().into())
            }
            Slab::U32(v) => {
                let a = Uint32Array::from(&v[..]);
                (a.clone().into(), a.buffer().into())
            }
            Slab::F32(v) => {
                let a = Float32Array::from(&v[..]);
                (a.clone().into(), a.buffer().into())
            }
            Slab::F64(v) => {
                let a = Float64Array::from(&v[..]);
                (a.clone().into(), a.buffer().into())
            }
        };
        slabs.push(&array);
        transfer.push(&buffer);
    }
    let object = Object::new();
    set(&object, "head", &JsValue::from_str(&message.head));
    set(&object, "slabs", &slabs);
    (object, transfer)
}

/// The message of an object made by [`to_js`].
pub fn from_js(object: &JsValue) -> Slabs {
    let head = get(object, "head").as_string().unwrap_or_default();
    let arrays = get(object, "slabs").dyn_into::<Array>().unwrap_or_default();
    let slabs = arrays
        .iter()
        .filter_map(|a| {
            if let Some(a) = a.dyn_ref::<Uint8Array>() {
                Some(Slab::U8(a.to_vec()))
            } else if let Some(a) = a.dyn_ref::<Uint32Array>() {
                Some(Slab::U32(a.to_vec()))
            } else if let Some(a) = a.dyn_ref::<Float32Array>() {
                Some(Slab::F32(a.to_vec()))
            } else {
                a.dyn_ref::<Float64Array>().map(|a| Slab::F64(a.to_vec()))
            }
        })
        .collect();
    Slabs { head, slabs }
}
