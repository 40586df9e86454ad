//! All figures of one measurement as data, and the pages that are made of them.

mod about;
mod figures;
mod markdown;
mod page;
mod readme;

pub use about::About;
pub use figures::{Bench, Figures};
pub use page::page;
pub use readme::{BEGIN, END, put_into, short};
