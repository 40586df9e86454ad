//! A row's stretches of time as a positioned bar: a waterfall one line high.

use crate::report::Piece;
use crate::time::Duration;

/// The bar of `pieces` in a run of length `wall`, `cells` columns wide.
///
/// Each cell is looked at twice, at a quarter and at three quarters of it, which gives half a cell of resolution. A
/// piece that falls between two looks is drawn as a thin line: a node on the path is never invisible.
pub(super) fn bar(pieces: &[Piece], wall: Duration, cells: usize, ascii: bool) -> String {
    let mut halves = vec![false; cells.saturating_mul(2)];
    let mut slivers = vec![false; cells];
    let scale = (cells as u128).saturating_mul(4);
    let wall = u128::from(wall.as_nanos());
    for piece in pieces {
        let start = u128::from(piece.start_ns.as_nanos()) * scale;
        let end = u128::from(piece.start_ns.saturating_add(piece.duration_ns).as_nanos()) * scale;
        let mut is_seen = false;
        for (index, half) in halves.iter_mut().enumerate() {
            let look = (2 * index as u128 + 1) * wall;
            if start <= look && look < end {
                *half = true;
                is_seen = true;
            }
        }
        if !is_seen && cells > 0 {
            let cell = start.checked_div(wall.saturating_mul(4)).unwrap_or(0).min(cells as u128 - 1);
            if let Some(sliver) = slivers.get_mut(cell as usize) {
                *sliver = true;
            }
        }
    }
    let drawn = halves.chunks_exact(2).zip(slivers).map(|(halves, sliver)| match (halves, sliver) {
        ([false, false], false) => ' ',
        ([false, false], true) if ascii => '|',
        ([false, false], true) => '▏',
        _ if ascii => '#',
        ([true, false], _) => '▌',
        ([false, true], _) => '▐',
        _ => '█',
    });
    drawn.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(pieces: &[(u64, u64)], wall: u64, cells: usize) -> [String; 2] {
        let piece = |&(start, length)| Piece {
            start_ns: Duration::from_nanos(start),
            duration_ns: Duration::from_nanos(length),
        };
        let pieces: Vec<_> = pieces.iter().map(piece).collect();
        [false, true].map(|ascii| bar(&pieces, Duration::from_nanos(wall), cells, ascii))
    }

    #[test]
    fn a_bar_stands_where_its_time_lies() {
        assert_eq!(draw(&[(0, 100)], 100, 4), ["████", "####"]);
        assert_eq!(draw(&[(25, 25)], 100, 4), [" █  ", " #  "]);
        assert_eq!(draw(&[(0, 25), (75, 25)], 100, 4), ["█  █", "#  #"]);
    }

    #[test]
    fn half_a_cell_is_drawn_as_half_a_cell() {
        assert_eq!(draw(&[(0, 12)], 100, 4), ["▌   ", "#   "]);
        assert_eq!(draw(&[(13, 12)], 100, 4), ["▐   ", "#   "]);
    }

    #[test]
    fn a_stretch_between_two_looks_is_a_thin_line() {
        assert_eq!(draw(&[(30, 0)], 100, 4), [" ▏  ", " |  "]);
        assert_eq!(draw(&[(100, 0)], 100, 4), ["   ▏", "   |"]);
        assert_eq!(draw(&[(99, 1), (0, 1)], 100, 4), ["▏  ▏", "|  |"]);
    }

    #[test]
    fn a_run_without_length_and_foreign_times_are_drawn_all_the_same() {
        assert_eq!(draw(&[(0, 0)], 0, 3)[0], "▏  ");
        assert_eq!(draw(&[(u64::MAX, u64::MAX)], u64::MAX, 3)[0], "  ▏");
        assert_eq!(draw(&[(0, 5)], 10, 0)[0], "");
    }
}
