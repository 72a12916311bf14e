//! What one turn counts, added up before others see it: a count that threads share costs more than the sum of a thousand that none does.

/// Equal times in a row, to be counted at once: those of one turn differ little.
#[derive(Clone, Copy, Default)]
pub(super) struct Run {
    pub(super) ms: u64,
    pub(super) times: u64,
}

impl Run {
    /// One more. If it is another time than those before, they come back, to be counted.
    pub(super) fn add(&mut self, ms: u64) -> Option<Self> {
        if self.ms == ms {
            self.times += 1;
            return None;
        }
        let before = self.take();
        *self = Self { ms, times: 1 };
        before
    }

    /// Those that are not counted yet, if there are any.
    pub(super) fn take(&mut self) -> Option<Self> {
        Some(std::mem::take(self)).filter(|run| run.times > 0)
    }
}

/// Sizes of transactions that were proposed in one turn.
#[derive(Clone, Copy, Default)]
pub(super) struct Proposed {
    pub(super) count: u64,
    pub(super) last: usize,
    pub(super) min: usize,
    pub(super) max: usize,
}

impl Proposed {
    /// One more.
    pub(super) fn add(&mut self, bytes: usize) {
        self.min = if self.count == 0 {
            bytes
        } else {
            self.min.min(bytes)
        };
        self.max = self.max.max(bytes);
        self.last = bytes;
        self.count += 1;
    }

    /// Those that are not counted yet, if there are any.
    pub(super) fn take(&mut self) -> Option<Self> {
        Some(std::mem::take(self)).filter(|proposed| proposed.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_lost_and_none_is_counted_twice() {
        let times = [0, 0, 5, 5, 5, 0, 7];
        let mut run = Run::default();
        let mut counted: Vec<Run> = times.iter().filter_map(|ms| run.add(*ms)).collect();
        counted.extend(run.take());
        let counted: Vec<_> = counted.iter().map(|run| (run.ms, run.times)).collect();
        assert_eq!(counted, [(0, 2), (5, 3), (0, 1), (7, 1)]);
        assert!(run.take().is_none(), "all of them are counted");
    }

    #[test]
    fn sizes_of_a_turn_are_their_number_the_last_one_and_the_bounds() {
        let mut proposed = Proposed::default();
        [9, 3, 20, 5]
            .into_iter()
            .for_each(|bytes| proposed.add(bytes));
        let Some(of_turn) = proposed.take() else {
            panic!("four were proposed")
        };
        let Proposed {
            count,
            last,
            min,
            max,
        } = of_turn;
        assert_eq!((count, last, min, max), (4, 5, 3, 20));
        assert!(proposed.take().is_none());
    }
}
