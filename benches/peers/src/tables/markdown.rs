//! Cells and tables.

/// A table; the first column is text, the others are numbers.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = line(head.iter().copied());
    text.push_str("|---|");
    text.push_str(&"--:|".repeat(head.len().saturating_sub(1)));
    text.push('\n');
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str)));
    }
    text
}

fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// `12,345`, or `–` if there is none.
pub(super) fn whole(number: Option<f64>) -> String {
    let Some(number) = number.filter(|number| number.is_finite()) else { return "–".to_owned() };
    let digits = format!("{number:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

/// With decimals, or `–`.
pub(super) fn decimal(number: Option<f64>, decimals: usize) -> String {
    let number = number.filter(|number| number.is_finite());
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.decimals$}"))
}

/// The middle one; of an even number the upper of both.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The least.
pub(super) fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

/// The greatest.
pub(super) fn greatest(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let texts = [0.4, 999.0, 1_000.0, 1_234_567.0, -4_321.0].map(|number| whole(Some(number)));
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567", "-4,321"]);
        assert_eq!([whole(None), decimal(Some(f64::NAN), 1), decimal(Some(1.26), 1)], ["–", "–", "1.3"]);
    }

    #[test]
    fn cells_cannot_break_a_table() {
        let text = table(&["a", "b"], &[vec!["x|y".to_owned(), "two\nlines".to_owned()]]);
        assert_eq!(text, "| a | b |\n|---|--:|\n| x\\|y | two lines |\n");
    }

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!((median(&[]), least(&[2.0, 1.0]), greatest(&[2.0, 1.0])), (None, Some(1.0), Some(2.0)));
    }
}
