//! Views of a [`Report`]: strings out, nothing computed.
//!
//! [`text()`] is for people at a terminal, [`json()`] for programs. What both say stands in the report; here it is
//! only laid out, shortened and made safe to print.

mod bar;
mod comparison;
mod comparison_markdown;
pub mod conexus;
mod cost;
mod csv;
mod csv_text;
mod evidence;
mod excerpt;
mod fix_first;
mod gates;
mod header;
mod html;
mod json;
mod lines;
pub mod many_runs;
mod markdown;
mod node_table;
mod page;
mod path_table;
mod printable;
pub mod run_list;
mod schema;
mod speedscope;
pub mod text;
mod trace_events;
pub mod trend;
mod trust;
pub(crate) mod units;
mod what_if;

pub use comparison::comparison_text;
pub use comparison_markdown::{comparison_json, comparison_markdown};
pub use csv::{csv, csv_header, csv_run, csv_runs_header, csv_schema, csv_spans, csv_spans_header};
pub use excerpt::{Block, Excerpt};
pub use gates::{check_json, gates_text};
pub use html::{HTML_END, HtmlOptions, html, html_article, html_start};
pub use json::{json, json_line};
pub use lines::lines;
pub use markdown::{MARKDOWN_LIMIT, markdown};
pub use printable::Printable;
pub use schema::{COMPARE_SCHEMA, REPORT_SCHEMA};
pub use speedscope::speedscope;
pub use text::{TextStyle, text, text_excerpt};
pub use trace_events::trace_events;
pub use what_if::{what_if_json, what_if_text};

use crate::report::Report;

impl Report {
    /// The report as text for a person: at most 80 columns, no colour. See [`text()`] for other styles.
    pub fn to_text(&self) -> String {
        text(self, &TextStyle::default())
    }

    /// The report as JSON for a program. See [`json()`].
    pub fn to_json(&self) -> String {
        json(self)
    }
}
