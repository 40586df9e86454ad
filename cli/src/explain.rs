//! `longpole explain`: what an insight, a word of a report, a gate or a file of budgets means. Reads nothing.

mod pages;

use anyhow::anyhow;
use longpole::report::insights::catalogue::{INSIGHTS, Insight};

use crate::failure::Failure;
use crate::output;
use crate::runs::nearest;
use pages::{PAGES, what_helps};

/// What an insight (LP103) or a word of a report (slack) means; without one, what there is to explain
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// A code, or a word: severity, gates, budgets, critical path, slack…
    #[arg(value_name = "CODE", num_args = 0..)]
    what: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  longpole explain LP103
  longpole explain severity
  longpole explain critical path";

/// Columns of a line.
const WIDTH: usize = 80;

pub(crate) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let what = args.what.join(" ");
    let page = if what.trim().is_empty() { list() } else { page(&what)? };
    output::print(&page)
}

fn page(what: &str) -> Result<String, Failure> {
    let wanted = normal(what);
    if let Some(insight) = INSIGHTS.iter().find(|it| normal(it.code) == wanted || normal(it.title) == wanted)
    {
        return Ok(insight_page(insight));
    }
    let is_meant = |name: &&str| normal(name) == wanted;
    if let Some(page) = PAGES.iter().find(|page| page.names.iter().any(&is_meant)) {
        let title = page.names.first().copied().unwrap_or_default();
        return Ok(format!("{title}\n\n{}", page.text));
    }
    let pages = PAGES.iter().flat_map(|page| page.names).map(|name| (*name).to_owned());
    let insights = INSIGHTS.iter().flat_map(|it| [it.code.to_owned(), it.title.to_owned()]);
    let near = nearest(&what.to_lowercase(), pages.chain(insights).collect());
    let near = if near.is_empty() { nearest(&what.to_uppercase(), codes()) } else { near };
    let help = match near.is_empty() {
        true => "what there is: longpole explain".to_owned(),
        false => format!("there is: {}", near.join(", ")),
    };
    Err(Failure::nothing_there(anyhow!("nothing is known about {what:?}"), help))
}

fn codes() -> Vec<String> {
    INSIGHTS.iter().map(|it| it.code.to_owned()).collect()
}

/// Spelled as one likes: `Critical path`, `critical-path`, `lp103`.
fn normal(text: &str) -> String {
    let letters = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    letters.collect()
}

fn insight_page(insight: &Insight) -> String {
    let mut page = format!("{}  {}\n", insight.code, insight.title);
    let parts = [
        ("Told when", sentence(insight.fires)),
        ("Why", insight.rationale.to_owned()),
        ("But", insight.caveat.to_owned()),
        ("What helps", what_helps(insight.code).to_owned()),
    ];
    for (label, text) in parts {
        page += &format!("\n{}", wrapped(label, &text));
    }
    page + &format!("\nAs a gate: --fail-if 'insight({})'\n", insight.code)
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// A label, and a text behind it that is broken at spaces.
fn wrapped(label: &str, text: &str) -> String {
    const INDENT: usize = 12;
    let mut page = format!("{label:<INDENT$}");
    let mut column = INDENT;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > INDENT && column + 1 + length > WIDTH {
            page += &format!("\n{:INDENT$}", "");
            column = INDENT;
        }
        if column > INDENT {
            page.push(' ');
            column += 1;
        }
        page += word;
        column += length;
    }
    page + "\n"
}

fn list() -> String {
    let mut page = "Insights: what a report may find\n\n".to_owned();
    for insight in INSIGHTS {
        page += &format!("  {}  {}\n", insight.code, insight.title);
    }
    page += "\nWords\n\n";
    for known in PAGES {
        let name = known.names.first().copied().unwrap_or_default();
        let first = known.text.split_once(". ").map_or(known.text, |(first, _)| first);
        let first: String = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let room = WIDTH - 20;
        let cut = match first.char_indices().nth(room) {
            Some((at, _)) => {
                let kept = first.get(..at).unwrap_or(&first);
                format!("{}…", kept.rsplit_once(' ').map_or(kept, |(kept, _)| kept))
            }
            None => first.trim_end_matches('.').to_owned(),
        };
        page += &format!("  {name:<16}  {cut}\n");
    }
    page + "\nMore about one: longpole explain LP103, longpole explain severity\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_insight_and_every_word_has_a_page_that_fits() {
        for insight in INSIGHTS {
            assert!(!what_helps(insight.code).is_empty(), "{}", insight.code);
            assert_eq!(page(insight.code).unwrap(), page(insight.title).unwrap());
        }
        let pages = PAGES.iter().flat_map(|page| page.names).copied().chain(INSIGHTS.map(|it| it.code));
        for text in pages.map(|name| page(name).unwrap()).chain([list()]) {
            let wide = text.lines().find(|line| line.chars().count() > WIDTH);
            assert_eq!(wide, None);
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn words_are_known_by_one_name_each() {
        let mut names: Vec<String> =
            PAGES.iter().flat_map(|page| page.names).map(|name| normal(name)).collect();
        names.extend(INSIGHTS.map(|it| normal(it.title)));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_example_of_budgets_and_gates_can_be_used() {
        let text = page("gates").unwrap();
        let gates: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split("  ").next())
            .filter(|gate| !gate.is_empty())
            .collect();
        assert!(gates.len() >= 10, "{gates:?}");
        for gate in gates {
            longpole::gates::Gate::parse(gate).unwrap();
        }
        let text = page("budgets").unwrap();
        let (_, example) = text.split_once("\n\n  ").unwrap();
        let example: String = example
            .lines()
            .take_while(|line| {
                line.is_empty() || !line.starts_with(char::is_alphabetic) || line.starts_with("quality")
            })
            .map(|line| format!("{}\n", line.trim()))
            .collect();
        assert!(crate::budgets::count(&example).unwrap() >= 8, "{example}");
    }
}
