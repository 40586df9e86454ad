//! Views of a [`Report`](crate::Report): strings out, nothing computed.

mod json;
mod layout;
mod printable;
pub(crate) mod sentences;
pub mod text;
pub(crate) mod units;

use crate::report::Report;

impl Report {
    /// The report as a person reads it, 80 columns wide, without colour. See [`text::text`] for more choice.
    pub fn to_text(&self) -> String {
        text::text(self, &text::TextStyle::default())
    }

    /// The report as `longpole.report/1` JSON: indented, keys in alphabetical order, so equal reports give equal
    /// bytes. Ends with a newline.
    pub fn to_json(&self) -> String {
        json::json(self)
    }
}
