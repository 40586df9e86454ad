//! Reports and comparisons as GitHub-flavoured Markdown: comments on a pull request, or what an agent is to read.
//!
//! The first line is a marker that is not seen and says which workflow it is about, so that a bot can find its comment
//! and replace it; the second is the verdict. Tables fit without scrolling, details are folded.

mod escape;
mod report;

pub(super) use escape::{code, code_of, marker, words};
pub use report::markdown;

/// The most characters a document has; GitHub takes 65,536 in a comment.
pub const MARKDOWN_LIMIT: usize = 60_000;

/// `text`, cut after its last whole line that fits, which is then said.
pub(super) fn limited(text: String) -> String {
    const NOTICE: &str = "\n**Cut here**: the rest is beyond 60,000 characters.\n";
    const END_OF_DETAILS: &str = "</details>\n";
    if text.chars().count() <= MARKDOWN_LIMIT {
        return text;
    }
    let room = MARKDOWN_LIMIT.saturating_sub(NOTICE.chars().count() + END_OF_DETAILS.len() + 1);
    let (mut cut, mut used) = (String::new(), 0usize);
    for line in text.split_inclusive('\n') {
        used = used.saturating_add(line.chars().count());
        if used > room {
            break;
        }
        cut += line;
    }
    let count = |what: &str| cut.lines().filter(|line| line.starts_with(what)).count();
    if count("<details>") > count("</details>") {
        cut += "\n";
        cut += END_OF_DETAILS;
    }
    cut + NOTICE
}

/// A table's row of cells.
fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_too_long_is_cut_at_a_line_and_says_so() {
        let long = format!("start\n<details><summary>x</summary>\n{}</details>\n", "ä line\n".repeat(20_000));
        let cut = limited(long);
        assert!(cut.chars().count() <= MARKDOWN_LIMIT, "{}", cut.chars().count());
        assert!(cut.chars().count() > MARKDOWN_LIMIT - 20);
        assert!(
            cut.ends_with("ä line\n\n</details>\n\n**Cut here**: the rest is beyond 60,000 characters.\n")
        );
        assert_eq!(limited("short\n".to_owned()), "short\n");
    }
}
