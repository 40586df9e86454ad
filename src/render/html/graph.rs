//! Who waited for whom: boxes from left to right, and the same as a list.

use super::markup::Markup;
use crate::render::printable::Printable;
use crate::render::units;
use crate::report::Report;
use crate::report::node_graph::{GraphEdge, GraphNode, NodeGraph};
use crate::report::timeline::{EdgeKind, Timeline};

/// Graphs of more nodes would not be read.
const MAX_NODES: usize = 60;
/// The most edges that are listed.
const MAX_LISTED: usize = 60;
/// The size of a box and the room between boxes, in pixels.
const WIDTH: u64 = 168;
const HEIGHT: u64 = 42;
const ACROSS: u64 = 56;
const DOWN: u64 = 18;
/// The most columns of a name in a box.
const MAX_NAME: usize = 18;

pub(super) fn put(html: &mut Markup, report: &Report, timeline: &Timeline) {
    let graph = NodeGraph::of(timeline);
    if graph.nodes.len() < 2 || graph.nodes.len() > MAX_NODES {
        return;
    }
    let counts =
        [(EdgeKind::Declared, "declared"), (EdgeKind::Inferred, "inferred from the order of time (dashed)")];
    let counts: Vec<String> = counts
        .iter()
        .map(|(kind, word)| (graph.count(*kind), word))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{} {word}", units::count(number)))
        .collect();
    html.raw("<section class=\"graph\"><h2>Who waited for whom</h2>\n<p>").text(&counts.join(", "));
    html.raw(". Bold: on the critical path.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Graph of nodes\"><svg aria-hidden=true style=width:");
    html.number(u64::from(graph.layers) * (WIDTH + ACROSS) - ACROSS + 4).raw("px;height:");
    html.number(u64::from(graph.rows) * (HEIGHT + DOWN) + 2).raw("px>");
    for edge in graph.edges.iter().filter(|edge| !edge.is_back) {
        put_edge(html, &graph, edge);
    }
    for node in &graph.nodes {
        put_box(html, report, timeline, node);
    }
    html.raw("</svg></div>\n<ul>\n");
    for edge in graph.edges.iter().take(MAX_LISTED) {
        put_line(html, timeline, &graph, edge);
    }
    html.raw("</ul>\n");
    let more = graph.edges.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        html.raw("<p>… and ").text(&units::count(more as u64)).raw(" more</p>\n");
    }
    html.raw("</section>\n");
}

fn corner(node: &GraphNode) -> (u64, u64) {
    (u64::from(node.layer) * (WIDTH + ACROSS) + 2, u64::from(node.row) * (HEIGHT + DOWN) + 2)
}

fn put_box(html: &mut Markup, report: &Report, timeline: &Timeline, node: &GraphNode) {
    let (x, y) = corner(node);
    html.raw(if node.on_path_ns.is_zero() {
        "<path class=box d=\"M"
    } else {
        "<path class=\"box on\" d=\"M"
    });
    html.number(x)
        .raw(" ")
        .number(y)
        .raw("h")
        .number(WIDTH)
        .raw("v")
        .number(HEIGHT)
        .raw("h-")
        .number(WIDTH)
        .raw("z\"/>");
    let name = timeline.nodes.get(node.node as usize).map_or("", |node| &node.name);
    let times =
        if node.executions > 1 { format!(" ×{}", units::count(node.executions)) } else { String::new() };
    html.raw(if node.on_path_ns.is_zero() { "<text x=" } else { "<text class=on x=" });
    html.number(x + 8)
        .raw(" y=")
        .number(y + 17)
        .raw(" >")
        .text(&Printable::new(name).fitted(MAX_NAME))
        .text(&times);
    html.raw("</text><text class=more x=").number(x + 8).raw(" y=").number(y + 34).raw(" >");
    let share = node.on_path_ns.ratio_of(report.run.wall_ns).map(units::share).unwrap_or_default();
    match node.on_path_ns.is_zero() {
        true => html.raw("beside the path"),
        false => html.text(&format!("{} · {share}", units::duration(node.on_path_ns))),
    };
    html.raw("</text>\n");
}

fn put_edge(html: &mut Markup, graph: &NodeGraph, edge: &GraphEdge) {
    let (Some(from), Some(to)) = (graph.nodes.get(edge.from as usize), graph.nodes.get(edge.to as usize))
    else {
        return;
    };
    let ((from_x, from_y), (to_x, to_y)) = (corner(from), corner(to));
    let (start, end) = ((from_x + WIDTH, from_y + HEIGHT / 2), (to_x, to_y + HEIGHT / 2));
    let from_layer = from.layer;
    let is_on_path = !from.on_path_ns.is_zero() && !to.on_path_ns.is_zero();
    html.raw(match (edge.kind, is_on_path) {
        (EdgeKind::Inferred, true) => "<path class=\"edge on dashed\" d=\"M",
        (EdgeKind::Inferred, false) => "<path class=\"edge dashed\" d=\"M",
        (_, true) => "<path class=\"edge on\" d=\"M",
        (_, false) => "<path class=edge d=\"M",
    });
    html.number(start.0).raw(" ").number(start.1);
    let mut from = start;
    if to.layer > from_layer + 1 {
        // Between two rows, where no box is.
        let lane = from_y + HEIGHT + DOWN / 2;
        put_curve(html, from, (start.0 + ACROSS, lane));
        from = (end.0.saturating_sub(ACROSS), lane);
        html.raw("H").number(from.0);
    }
    put_curve(html, from, end);
    html.raw("\"/>");
}

fn put_curve(html: &mut Markup, (from_x, from_y): (u64, u64), (to_x, to_y): (u64, u64)) {
    let bend = ACROSS / 2;
    html.raw("C").number(from_x + bend).raw(" ").number(from_y).raw(" ").number(to_x.saturating_sub(bend));
    html.raw(" ").number(to_y).raw(" ").number(to_x).raw(" ").number(to_y);
}

/// `draft waited for fetch ×6, declared`.
fn put_line(html: &mut Markup, timeline: &Timeline, graph: &NodeGraph, edge: &GraphEdge) {
    let name = |at: u32| {
        let node = graph.nodes.get(at as usize).and_then(|node| timeline.nodes.get(node.node as usize));
        node.map_or("", |node| &node.name)
    };
    html.raw("<li>").name(name(edge.to)).raw(" waited for ").name(name(edge.from));
    if edge.times > 1 {
        html.raw("&nbsp;×").text(&units::count(edge.times));
    }
    html.raw(match edge.kind {
        EdgeKind::Inferred => " <small>inferred</small>",
        _ => " <small>declared</small>",
    });
    html.raw(if edge.is_back { " <small>in a loop</small></li>\n" } else { "</li>\n" });
}
