//! Requests that are halved until the broker takes them.

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The brokers have it.
    Delivered,
    /// They take none so long.
    TooLong,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It, or a record in it, is longer than the broker takes.
    TooLong,
    /// Another reason.
    Other(String),
}

/// Sends records by `request`, in their order; one that is too long even alone is given up. Returns what became of them by
/// their indices, and why the rest was not sent.
pub(super) async fn send<R, F, W>(
    records: Vec<(usize, R)>,
    mut request: F,
) -> (Vec<(usize, Fate)>, Option<String>)
where
    R: Clone,
    F: FnMut(Vec<R>) -> W,
    W: Future<Output = Result<(), Failure>>,
{
    let mut fates = Vec::with_capacity(records.len());
    // The part to send next is last.
    let mut parts = vec![records.as_slice()];
    while let Some(part) = parts.pop() {
        let content = part.iter().map(|(_, record)| record.clone()).collect();
        let fate = match request(content).await {
            Ok(()) => Fate::Delivered,
            Err(Failure::TooLong) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
                continue;
            }
            Err(Failure::TooLong) => Fate::TooLong,
            Err(Failure::Other(error)) => return (fates, Some(error)),
        };
        fates.extend(part.iter().map(|(index, _)| (*index, fate)));
    }
    (fates, None)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A broker that takes so many bytes at once, and fails at a record.
    fn run(
        records: &[usize],
        limit: usize,
        fails_at: usize,
    ) -> (Vec<(usize, Fate)>, Option<String>, Vec<usize>) {
        let taken = RefCell::new(Vec::new());
        let records = records.iter().copied().enumerate().collect();
        let request = |sizes: Vec<usize>| {
            let answer = if sizes.iter().sum::<usize>() > limit {
                Err(Failure::TooLong)
            } else if sizes.contains(&fails_at) {
                Err(Failure::Other("down".into()))
            } else {
                taken.borrow_mut().extend(sizes);
                Ok(())
            };
            async { answer }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (fates, error) = runtime.block_on(send(records, request));
        (fates, error, taken.into_inner())
    }

    #[test]
    fn only_what_is_too_long_alone_is_given_up() {
        let (fates, error, taken) = run(&[1, 2, 99, 3, 4, 5], 8, 1000);
        assert_eq!((taken, error), (vec![1, 2, 3, 4, 5], None));
        let lost: Vec<_> = fates.iter().filter(|(_, fate)| *fate == Fate::TooLong).collect();
        assert_eq!((fates.len(), lost), (6, vec![&(2, Fate::TooLong)]));
        assert!(fates.iter().map(|(index, _)| *index).eq(0..6), "{fates:?}");
    }

    #[test]
    fn what_arrived_before_a_failure_is_told() {
        let (fates, error, taken) = run(&[4, 5, 6, 7], 9, 6);
        assert_eq!((taken, error.as_deref()), (vec![4, 5], Some("down")));
        assert_eq!(fates, [(0, Fate::Delivered), (1, Fate::Delivered)]);
    }
}
