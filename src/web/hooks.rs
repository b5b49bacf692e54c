//! Hooks that views share.

use super::client::Client;
use crate::base::slabs::Slabs;
use crate::engine::protocol::{Failure, Request};
use gloo::timers::callback::Timeout;
use std::cell::Cell;
use std::rc::Rc;
use yew::prelude::*;

/// The state of a question to the engine.
pub enum Answer<T> {
    /// Not answered yet; the last answer stays on screen meanwhile.
    Waiting(Option<Rc<T>>),
    /// Answered.
    Here(Rc<T>),
    /// Refused, with a sentence.
    Failed(String),
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Answer<T> {
        match self {
            Answer::Waiting(last) => Answer::Waiting(last.clone()),
            Answer::Here(value) => Answer::Here(value.clone()),
            Answer::Failed(why) => Answer::Failed(why.clone()),
        }
    }
}

impl<T> Answer<T> {
    /// The newest answer that there is.
    pub fn value(&self) -> Option<&Rc<T>> {
        match self {
            Answer::Here(value) | Answer::Waiting(Some(value)) => Some(value),
            _ => None,
        }
    }
}

/// Asks whenever the request changes and decodes the answer once. Answers to older questions are dropped.
/// `generation` changes when files were added, so that the same question is asked again.
#[hook]
pub fn use_answer<T: 'static>(client: &Client, generation: u32, request: Request, decode: fn(Slabs) -> Option<T>) -> Answer<T> {
    let state = use_state(|| Answer::<T>::Waiting(None));
    let newest = use_mut_ref(|| Rc::new(Cell::new(0_u32)));
    {
        let (state, client) = (state.clone(), client.clone());
        use_effect_with((request, generation), move |(request, _)| {
            let newest = newest.borrow().clone();
            newest.set(newest.get() + 1);
            let own = newest.get();
            let last = match &*state {
                Answer::Here(value) | Answer::Waiting(Some(value)) => Some(value.clone()),
                _ => None,
            };
            state.set(Answer::Waiting(last));
            client.request(request, move |answer: Result<Slabs, Failure>| {
                if newest.get() != own {
                    return;
                }
                let next = match answer {
                    Ok(slabs) => match decode(slabs) {
                        Some(value) => Answer::Here(Rc::new(value)),
                        None => Answer::Failed("the engine's answer could not be read".to_string()),
                    },
                    Err(failure) => Answer::Failed(failure.message),
                };
                // Taking a large answer and showing it are two tasks, so that neither is felt.
                Timeout::new(0, move || {
                    if newest.get() == own {
                        state.set(next);
                    }
                })
                .forget();
            });
        });
    }
    (*state).clone()
}
