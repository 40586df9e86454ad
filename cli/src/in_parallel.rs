//! The same work on many runs, on all cores, told in order.

use std::thread;

/// How many items each core gets at a time: enough to be worth a thread, few enough to keep little waiting.
const SHARE: usize = 256;

/// Hands what `work` makes of each item to `take`, in the order of the items. At most so many cores' shares of results
/// wait at a time.
///
/// # Errors
/// The first error of `take`; no more work is done then.
pub(crate) fn in_order<T: Send, R: Send, E>(
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut items = items.into_iter();
    loop {
        let shares: Vec<Vec<T>> = (0..cores)
            .map(|_| items.by_ref().take(SHARE).collect())
            .filter(|share: &Vec<T>| !share.is_empty())
            .collect();
        if shares.is_empty() {
            return Ok(());
        }
        let work = &work;
        let of_share = |share: Vec<T>| share.into_iter().map(work).collect::<Vec<R>>();
        let results: Vec<Vec<R>> = match <[Vec<T>; 1]>::try_from(shares) {
            Ok([only]) => vec![of_share(only)],
            Err(shares) => thread::scope(|scope| {
                let threads: Vec<_> =
                    shares.into_iter().map(|share| scope.spawn(move || of_share(share))).collect();
                // A panic in a thread goes on here.
                let joined = threads
                    .into_iter()
                    .map(|it| it.join().unwrap_or_else(|it| std::panic::resume_unwind(it)));
                joined.collect()
            }),
        };
        for result in results.into_iter().flatten() {
            take(result)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_the_work() {
        let mut taken = Vec::new();
        let all: Result<(), ()> = in_order(
            (0..2_000).collect(),
            |item: u32| item * 2,
            |it| {
                taken.push(it);
                Ok(())
            },
        );
        assert_eq!((all, taken), (Ok(()), (0..2_000).map(|item| item * 2).collect::<Vec<u32>>()));
        let mut seen = 0;
        let broken = in_order(
            (0..100_000).collect(),
            |item: u32| item,
            |it| {
                seen += 1;
                if it == 10 { Err("full") } else { Ok(()) }
            },
        );
        assert_eq!((broken, seen), (Err("full"), 11));
        assert_eq!(in_order(Vec::new(), |item: u32| item, |_| Err("none")), Ok(()));
    }
}
