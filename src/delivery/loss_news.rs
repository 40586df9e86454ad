//! When to tell the user of losses: the first of each kind at once, then a line at most every half minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two lines about one reason.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct LossNews {
    told: BTreeMap<String, (u64, Instant)>,
}

impl LossNews {
    /// The sentences to tell now. `losses`: spans lost so far, by reason.
    pub(crate) fn due<'l>(
        &mut self,
        losses: impl IntoIterator<Item = (&'l str, u64)>,
        now: Instant,
    ) -> Vec<String> {
        let mut sentences = Vec::new();
        for (reason, count) in losses {
            let said = match self.told.get(reason) {
                None if count == 0 => continue,
                None => format!("spans lost: {count} ({reason})"),
                Some((told, _)) if *told >= count => continue,
                Some((_, at)) if now.saturating_duration_since(*at) < TOLD_EVERY => continue,
                Some((told, _)) => {
                    format!("spans lost: {} more ({reason}, {count} in all)", count.saturating_sub(*told))
                }
            };
            self.told.insert(reason.to_owned(), (count, now));
            sentences.push(said);
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_of_a_reason_is_told_at_once_and_more_of_it_after_half_a_minute() {
        let start = Instant::now();
        let mut news = LossNews::default();
        let mut at = |seconds, losses: &[(&'static str, u64)]| {
            news.due(losses.iter().copied(), start + Duration::from_secs(seconds))
        };
        assert!(at(0, &[("queue_full", 0)]).is_empty());
        assert_eq!(at(1, &[("queue_full", 3)]), ["spans lost: 3 (queue_full)"]);
        assert!(at(2, &[("queue_full", 9)]).is_empty());
        assert_eq!(at(3, &[("queue_full", 10), ("spool_full", 1)]), ["spans lost: 1 (spool_full)"]);
        assert_eq!(at(31, &[("queue_full", 10)]), ["spans lost: 7 more (queue_full, 10 in all)"]);
        assert!(at(90, &[("queue_full", 10)]).is_empty(), "nothing new");
    }
}
