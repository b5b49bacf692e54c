//! Trees of V8 that are nested in the file (`head`): heap profiles, and CPU profiles before 2016. They are walked by hand,
//! because a deep one has more levels than a parser may recurse.

use super::Import;
use super::json::{Broken, Json, Scalar, Text};
use super::v8_cpu::CallFrame;
use std::borrow::Cow;

/// A node without its children.
#[derive(Debug, Default)]
pub struct TreeNode {
    /// Id that samples name; -1 for none.
    pub id: i64,
    /// Hits (CPU).
    pub hits: i64,
    /// Bytes (heap).
    pub self_size: i64,
    /// Function.
    pub frame: CallFrame<'static>,
}

struct Open {
    row: u32,
    parent: u32,
    node: TreeNode,
    /// Inside of the array of children.
    in_children: bool,
}

/// Walks the tree that begins here. `leave` gets each node's row, the row of its caller (`u32::MAX` for the root) and the
/// node, children first; rows count in order of appearance. Nodes that are open where the text breaks are given too.
///
/// # Errors
/// [`Broken`] where the text is no such tree or ends inside.
pub fn walk(
    json: &mut Json<'_>,
    import: &mut Import<'_>,
    leave: &mut dyn FnMut(u32, u32, TreeNode, &mut Import<'_>),
) -> Result<(), Broken> {
    let mut open: Vec<Open> = Vec::new();
    let result = steps(json, import, &mut open, leave);
    while let Some(last) = open.pop() {
        leave(last.row, last.parent, last.node, import);
    }
    result
}

fn steps(
    json: &mut Json<'_>,
    import: &mut Import<'_>,
    open: &mut Vec<Open>,
    leave: &mut dyn FnMut(u32, u32, TreeNode, &mut Import<'_>),
) -> Result<(), Broken> {
    let (mut key, mut raw) = (String::new(), Vec::new());
    let mut rows = 0;
    let mut begin = |open: &mut Vec<Open>, parent: u32| {
        open.push(Open { row: rows, parent, node: TreeNode { id: -1, ..TreeNode::default() }, in_children: false });
        rows += 1;
    };
    if !json.eat(b'{')? {
        return Err(Broken::Unexpected(json.position(), "a node"));
    }
    begin(open, u32::MAX);
    while let Some(top) = open.last_mut() {
        if top.in_children {
            if !json.next_item()? {
                top.in_children = false;
            } else if json.eat(b'{')? {
                let parent = top.row;
                begin(open, parent);
            } else {
                json.skip()?;
            }
            continue;
        }
        if !json.next_key(&mut key)? {
            if let Some(done) = open.pop() {
                leave(done.row, done.parent, done.node, import);
            }
            continue;
        }
        if key == "children" && json.eat(b'[')? {
            top.in_children = true;
            continue;
        }
        let known = ["id", "callFrame", "selfSize", "hitCount", "functionName", "url", "lineNumber", "columnNumber"];
        if !known.contains(&key.as_str()) {
            json.skip()?;
            continue;
        }
        json.raw(&mut raw)?;
        let text = String::from_utf8_lossy(&raw);
        if key == "callFrame" {
            if let Ok(frame) = serde_json::from_str::<CallFrame<'_>>(&text) {
                top.node.frame = owned(&frame);
            }
            continue;
        }
        let value = serde_json::from_str::<Scalar<'_>>(&text).unwrap_or_default();
        let frame = &mut top.node.frame;
        match key.as_str() {
            "id" => top.node.id = value.int().unwrap_or(-1),
            "selfSize" => top.node.self_size = value.int().unwrap_or(0),
            "hitCount" => top.node.hits = value.int().unwrap_or(0),
            "functionName" => frame.function_name = Text(Cow::Owned(value.text().unwrap_or_default().to_string())),
            "url" => frame.url = Text(Cow::Owned(value.text().unwrap_or_default().to_string())),
            // The old form counts lines and columns from 1, with 0 for none.
            "lineNumber" => frame.line_number = Scalar::Int(value.int().unwrap_or(0).saturating_sub(1)),
            _ => frame.column_number = Scalar::Int(value.int().unwrap_or(0).saturating_sub(1)),
        }
    }
    Ok(())
}

fn owned(frame: &CallFrame<'_>) -> CallFrame<'static> {
    let number = |n: &Scalar<'_>| n.int().map_or(Scalar::Null, Scalar::Int);
    CallFrame {
        function_name: Text(Cow::Owned(frame.function_name.0.to_string())),
        url: Text(Cow::Owned(frame.url.0.to_string())),
        line_number: number(&frame.line_number),
        column_number: number(&frame.column_number),
    }
}
