//! The canvas of flame graphs and charts. Hover, zoom, pan and search need no message to the worker.

use super::flame_palette::Palette;
use super::flame_tooltip::tooltip;
use crate::engine::protocol::flame::{FlameData, FlameMode};
use crate::paint::flame::{Boxes, Matches, Rows, Viewport, draw, hit};
use crate::web::dom;
use gloo::events::{EventListener, EventListenerOptions};
use gloo::timers::callback::Timeout;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, KeyboardEvent, MouseEvent, ResizeObserver, WheelEvent};
use yew::prelude::*;

/// Height of a row in CSS pixels.
pub const ROW: f64 = 20.0;

/// Inputs of [`FlameCanvas`].
#[derive(Properties)]
pub struct Props {
    /// The picture.
    pub data: Rc<FlameData>,
    /// Result of the search.
    pub matches: Option<Rc<Matches>>,
    /// Selected box.
    pub selected: Option<u32>,
    /// The part of the x axis that is shown.
    pub window: (f64, f64),
    /// Row that must be on screen, when it changes.
    pub reveal: u32,
    /// A click selected a box, or nothing.
    pub select: Callback<Option<u32>>,
    /// A double click or Enter zooms to a box; `None` fits all.
    pub zoom_to: Callback<Option<u32>>,
    /// Wheel, drag or keys changed the window.
    pub zoom: Callback<(f64, f64)>,
    /// Redraws with the colours of the style sheet when it changes.
    pub generation: u32,
}

impl PartialEq for Props {
    fn eq(&self, o: &Props) -> bool {
        let same_matches = match (&self.matches, &o.matches) {
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        Rc::ptr_eq(&self.data, &o.data)
            && same_matches
            && self.selected == o.selected
            && self.window == o.window
            && self.reveal == o.reveal
            && self.generation == o.generation
    }
}

/// What happens on the canvas.
pub enum Msg {
    /// The pointer moved.
    Move(MouseEvent),
    /// The pointer left.
    Leave,
    /// A button was pressed.
    Down(MouseEvent),
    /// A button was released.
    Up(MouseEvent),
    /// Two clicks.
    Double(MouseEvent),
    /// The wheel turned.
    Wheel(WheelEvent),
    /// A key.
    Key(KeyboardEvent),
    /// The canvas has another size.
    Resize,
    /// The next frame is due.
    Frame,
}

type Pair = (f64, f64);

/// The canvas.
pub struct FlameCanvas {
    canvas: NodeRef,
    rows: Rows,
    size: (f64, f64),
    scroll: f64,
    hovered: Option<u32>,
    pointer: (f64, f64),
    /// Where a drag began: pointer, window, scroll; and whether it moved.
    drag: Option<(Pair, Pair, f64, bool)>,
    palette: Palette,
    listeners: Vec<EventListener>,
    /// Tells when the canvas gets another size, by the window or by what stands around it.
    observer: Option<(ResizeObserver, Closure<dyn FnMut()>)>,
    /// The window that is on screen while the wheel turns or the pointer drags; the page learns of it when that pauses, so
    /// that a frame costs a picture and nothing else.
    live: Option<Pair>,
    commit: Option<Timeout>,
    /// A picture is due with the next frame, however many events ask for one.
    due: bool,
}

/// How long the window must rest before the page is told.
const COMMIT_MS: u32 = 120;

/// The columns as painting and search take them.
pub fn boxes(data: &FlameData) -> Boxes<'_> {
    Boxes {
        parent: &data.parent,
        depth: &data.depth,
        name: &data.name,
        start: &data.start,
        total: &data.total,
        names: &data.names,
        name_category: &data.name_category,
        tint: &data.tint,
    }
}

fn palette(data: &FlameData) -> Palette {
    if data.head.sides.is_some() { Palette::read_diff() } else { Palette::read(data.head.categories.len()) }
}

impl FlameCanvas {
    fn viewport<'a>(&self, props: &'a Props) -> Viewport<'a> {
        Viewport {
            width: self.size.0,
            height: self.size.1,
            row_height: ROW,
            scroll: self.scroll,
            window: self.window(props),
            char_width: self.palette.char_width,
            upward: false,
            hovered: self.hovered,
            selected: props.selected,
            matches: props.matches.as_deref(),
        }
    }

    fn window(&self, props: &Props) -> Pair {
        self.live.unwrap_or(props.window)
    }

    /// Shows another window at once and tells the page when it has come to rest.
    fn show(&mut self, props: &Props, window: Pair) {
        self.live = Some(window);
        let zoom = props.zoom.clone();
        self.commit = Some(Timeout::new(COMMIT_MS, move || zoom.emit(window)));
    }

    fn point(&self, e: &MouseEvent) -> (f64, f64) {
        (f64::from(e.offset_x()), f64::from(e.offset_y()))
    }

    fn measure(&mut self) {
        if let Some(canvas) = self.canvas.cast::<HtmlCanvasElement>() {
            let rect = canvas.get_bounding_client_rect();
            self.size = (rect.width(), rect.height());
        }
    }

    fn clamp_scroll(&mut self) {
        let most = (self.rows.len() as f64 * ROW - self.size.1 + ROW).max(0.0);
        self.scroll = self.scroll.clamp(0.0, most);
    }

    fn paint(&self, props: &Props) {
        let Some(canvas) = self.canvas.cast::<HtmlCanvasElement>() else { return };
        let ratio = dom::window().device_pixel_ratio();
        let (w, h) = self.size;
        let (pw, ph) = ((w * ratio).round() as u32, (h * ratio).round() as u32);
        if canvas.width() != pw || canvas.height() != ph {
            canvas.set_width(pw);
            canvas.set_height(ph);
        }
        let Some(ctx) = canvas.get_context("2d").ok().flatten().and_then(|c| c.dyn_into::<CanvasRenderingContext2d>().ok()) else { return };
        let _ = ctx.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0);
        ctx.clear_rect(0.0, 0.0, w, h);
        let picture = draw(&boxes(&props.data), &self.rows, &self.viewport(props));
        self.palette.fill(&ctx, &picture, props.matches.is_some());
        // Anyone who measures can see when a picture is complete.
        let count = canvas.dataset().get("drawn").and_then(|n| n.parse::<u32>().ok()).map_or(1, |n| n.wrapping_add(1));
        let _ = canvas.dataset().set("drawn", &count.to_string());
        if count == 1 {
            dom::mark("hotspan:drawn");
        }
        if props.data.head.mode == FlameMode::Chart {
            ctx.set_fill_style_str(&self.palette.strong);
            ctx.set_font("600 11px system-ui, sans-serif");
            for track in &props.data.head.tracks {
                let y = f64::from(track.first_row) * ROW - self.scroll - 5.0;
                if !track.name.is_empty() && y > 0.0 && y < h {
                    let _ = ctx.fill_text(&track.name, 4.0, y);
                }
            }
        }
    }

    /// A window of another width around a point, inside the picture.
    fn zoomed(&self, props: &Props, factor: f64, at: f64) -> (f64, f64) {
        let (from, to) = self.window(props);
        let extent = props.data.head.extent;
        let span = ((to - from) * factor).clamp(extent * 1e-9, extent);
        let focus = from + (to - from) * (at / self.size.0.max(1.0)).clamp(0.0, 1.0);
        let share = (focus - from) / (to - from).max(f64::MIN_POSITIVE);
        let start = (focus - span * share).clamp(0.0, (extent - span).max(0.0));
        (start, start + span)
    }

    fn panned(&self, props: &Props, pixels: f64) -> (f64, f64) {
        let (from, to) = self.window(props);
        let span = to - from;
        let start = (from + pixels / self.size.0.max(1.0) * span).clamp(0.0, (props.data.head.extent - span).max(0.0));
        (start, start + span)
    }

    fn key(&mut self, props: &Props, e: &KeyboardEvent) -> bool {
        if dom::takes_text(e.target()) || e.ctrl_key() || e.meta_key() || e.alt_key() {
            return false;
        }
        let data = &props.data;
        let middle = self.size.0 / 2.0;
        let step = self.size.0 / 8.0;
        let children = |node: u32| {
            (0..data.parent.len() as u32)
                .skip(node as usize + 1)
                .take_while(move |n| data.depth[*n as usize] > data.depth[node as usize])
                .filter(move |n| data.parent[*n as usize] == node)
        };
        match (e.key().as_str(), props.selected) {
            ("+" | "=" | "w", _) => props.zoom.emit(self.zoomed(props, 0.7, middle)),
            ("-" | "s", _) => props.zoom.emit(self.zoomed(props, 1.0 / 0.7, middle)),
            ("0", _) => props.zoom_to.emit(None),
            ("a", _) => props.zoom.emit(self.panned(props, -step)),
            ("d", _) => props.zoom.emit(self.panned(props, step)),
            ("ArrowUp", Some(n)) => props.select.emit(Some(data.parent[n as usize]).filter(|p| *p != u32::MAX).or(Some(n))),
            ("ArrowDown", Some(n)) => {
                let widest = children(n).max_by(|a, b| data.total[*a as usize].total_cmp(&data.total[*b as usize]));
                props.select.emit(widest.or(Some(n)));
            }
            ("ArrowLeft" | "ArrowRight", Some(n)) => {
                let parent = data.parent[n as usize];
                let siblings: Vec<u32> = if parent == u32::MAX {
                    (0..data.parent.len() as u32).filter(|i| data.parent[*i as usize] == u32::MAX).collect()
                } else {
                    children(parent).collect()
                };
                let at = siblings.iter().position(|s| *s == n).unwrap_or(0);
                let next = if e.key() == "ArrowLeft" { at.saturating_sub(1) } else { (at + 1).min(siblings.len().saturating_sub(1)) };
                props.select.emit(siblings.get(next).copied().or(Some(n)));
            }
            ("ArrowUp" | "ArrowDown" | "ArrowLeft" | "ArrowRight", None) => props.select.emit((!data.parent.is_empty()).then_some(0)),
            ("Enter", Some(n))
                if e.target().and_then(|t| t.dyn_into::<web_sys::Element>().ok()).is_none_or(|t| t.tag_name() != "BUTTON") =>
            {
                props.zoom_to.emit(Some(n));
            }
            _ => return false,
        }
        e.prevent_default();
        false
    }
}

impl Component for FlameCanvas {
    type Message = Msg;
    type Properties = Props;

    fn create(ctx: &Context<FlameCanvas>) -> FlameCanvas {
        let data = &ctx.props().data;
        FlameCanvas {
            canvas: NodeRef::default(),
            rows: Rows::new(&data.depth),
            size: (0.0, 0.0),
            scroll: 0.0,
            hovered: None,
            pointer: (0.0, 0.0),
            drag: None,
            palette: palette(data),
            listeners: Vec::new(),
            observer: None,
            live: None,
            commit: None,
            due: false,
        }
    }

    fn changed(&mut self, ctx: &Context<FlameCanvas>, old: &Props) -> bool {
        let props = ctx.props();
        if !Rc::ptr_eq(&props.data, &old.data) {
            self.rows = Rows::new(&props.data.depth);
            self.hovered = None;
            self.scroll = 0.0;
        }
        if props.window != old.window || !Rc::ptr_eq(&props.data, &old.data) {
            (self.live, self.commit) = (None, None);
        }
        if props.generation != old.generation {
            self.palette = palette(&props.data);
        }
        if props.reveal != old.reveal || props.selected != old.selected {
            let y = f64::from(props.selected.and_then(|n| props.data.depth.get(n as usize).copied()).unwrap_or(props.reveal)) * ROW;
            if y < self.scroll || y + ROW > self.scroll + self.size.1 {
                self.scroll = y - self.size.1 / 3.0;
                self.clamp_scroll();
            }
        }
        true
    }

    fn update(&mut self, ctx: &Context<FlameCanvas>, msg: Msg) -> bool {
        let props = ctx.props();
        match msg {
            Msg::Move(e) => {
                self.pointer = self.point(&e);
                if let Some((from, window, scroll, _)) = self.drag {
                    let (dx, dy) = (self.pointer.0 - from.0, self.pointer.1 - from.1);
                    if dx.abs() + dy.abs() < 4.0 {
                        return false;
                    }
                    self.drag = Some((from, window, scroll, true));
                    self.scroll = scroll - dy;
                    self.clamp_scroll();
                    let span = window.1 - window.0;
                    let start = (window.0 - dx / self.size.0.max(1.0) * span).clamp(0.0, (props.data.head.extent - span).max(0.0));
                    if (start, start + span) != self.window(props) {
                        self.show(props, (start, start + span));
                    }
                    return true;
                }
                let found = hit(&boxes(&props.data), &self.rows, &self.viewport(props), self.pointer.0, self.pointer.1);
                let changed = found != self.hovered || found.is_some();
                self.hovered = found;
                changed
            }
            Msg::Leave => {
                self.drag = None;
                self.hovered.take().is_some()
            }
            Msg::Down(e) => {
                if e.button() == 0 {
                    self.drag = Some((self.point(&e), self.window(props), self.scroll, false));
                }
                false
            }
            Msg::Up(e) => {
                let moved = self.drag.take().is_none_or(|d| d.3);
                if !moved {
                    let (x, y) = self.point(&e);
                    props.select.emit(hit(&boxes(&props.data), &self.rows, &self.viewport(props), x, y));
                }
                true
            }
            Msg::Double(e) => {
                let (x, y) = self.point(&e);
                props.zoom_to.emit(hit(&boxes(&props.data), &self.rows, &self.viewport(props), x, y));
                false
            }
            Msg::Wheel(e) => {
                e.prevent_default();
                if e.ctrl_key() || e.meta_key() {
                    let factor = (e.delta_y() * 0.004).clamp(-1.0, 1.0).exp();
                    let at = self.point(&e).0;
                    self.show(props, self.zoomed(props, factor, at));
                } else if e.shift_key() || e.delta_x().abs() > e.delta_y().abs() {
                    let delta = if e.delta_x() == 0.0 { e.delta_y() } else { e.delta_x() };
                    self.show(props, self.panned(props, delta));
                } else {
                    self.scroll += e.delta_y();
                    self.clamp_scroll();
                }
                true
            }
            Msg::Key(e) => self.key(props, &e),
            Msg::Frame => {
                self.due = false;
                self.paint(props);
                false
            }
            Msg::Resize => {
                self.measure();
                self.clamp_scroll();
                true
            }
        }
    }

    fn destroy(&mut self, _ctx: &Context<FlameCanvas>) {
        if let Some((observer, _)) = self.observer.take() {
            observer.disconnect();
        }
    }

    fn view(&self, ctx: &Context<FlameCanvas>) -> Html {
        let link = ctx.link();
        let cursor = if self.drag.is_some_and(|d| d.3) {
            "grabbing"
        } else if self.hovered.is_some() {
            "pointer"
        } else {
            "default"
        };
        html! {
            <div class="canvas-box">
                <canvas
                    ref={self.canvas.clone()}
                    tabindex="0"
                    role="img"
                    aria-label="Flame graph. The list beside it says the same in words; arrows move the selection, Enter zooms."
                    style={format!("cursor:{cursor}")}
                    onmousemove={link.callback(Msg::Move)}
                    onmouseleave={link.callback(|_| Msg::Leave)}
                    onmousedown={link.callback(Msg::Down)}
                    onmouseup={link.callback(Msg::Up)}
                    ondblclick={link.callback(Msg::Double)}
                />
                if let Some(node) = self.hovered.filter(|_| self.drag.is_none_or(|d| !d.3)) { { tooltip(&ctx.props().data, node, self.pointer, self.size) } }
            </div>
        }
    }

    fn rendered(&mut self, ctx: &Context<FlameCanvas>, first: bool) {
        if first {
            self.measure();
            let link = ctx.link().clone();
            let resized = {
                let link = link.clone();
                Closure::<dyn FnMut()>::new(move || link.send_message(Msg::Resize))
            };
            if let (Ok(observer), Some(canvas)) =
                (ResizeObserver::new(resized.as_ref().unchecked_ref()), self.canvas.cast::<HtmlCanvasElement>())
            {
                observer.observe(&canvas);
                self.observer = Some((observer, resized));
            }
            self.listeners.push(EventListener::new_with_options(
                &dom::window(),
                "keydown",
                EventListenerOptions::enable_prevent_default(),
                {
                    let link = link.clone();
                    move |e| {
                        if let Some(e) = e.dyn_ref::<KeyboardEvent>() {
                            link.send_message(Msg::Key(e.clone()));
                        }
                    }
                },
            ));
            if let Some(canvas) = self.canvas.cast::<HtmlCanvasElement>() {
                // A wheel listener must be able to keep the page from scrolling.
                self.listeners.push(EventListener::new_with_options(
                    &canvas,
                    "wheel",
                    EventListenerOptions::enable_prevent_default(),
                    move |e| {
                        if let Some(e) = e.dyn_ref::<WheelEvent>() {
                            e.prevent_default();
                            link.send_message(Msg::Wheel(e.clone()));
                        }
                    },
                ));
            }
        }
        if !self.due {
            self.due = true;
            let link = ctx.link().clone();
            dom::next_frame(move || link.send_message(Msg::Frame));
        }
    }
}
