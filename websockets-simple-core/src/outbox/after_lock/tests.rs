use super::*;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

/// Counts those of this thread.
pub(super) struct Counted;

impl Default for Counted {
    fn default() -> Self {
        LIVE.with(|live| live.set(live.get() + 1));
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.with(|live| live.set(live.get() - 1));
    }
}

#[test]
fn code_that_makes_more_due_when_it_runs_leaves_nothing_behind() {
    /// As one that sends when it is woken.
    struct Sends;
    impl std::task::Wake for Sends {
        fn wake(self: std::sync::Arc<Self>) {
            wake(Waker::noop().clone());
            run_if_due();
        }
    }
    for _ in 0..1000 {
        wake(Waker::from(std::sync::Arc::new(Sends)));
        run_if_due();
    }
    assert_eq!(LIVE.with(Cell::get), 1, "the one that is kept for the next time");
    assert!(!IS_DUE.with(Cell::get));
}

#[test]
fn a_burst_gives_its_memory_back() {
    for number in [KEPT, 10 * KEPT] {
        (0..number).for_each(|_| wake(Waker::noop().clone()));
        run_if_due();
        let kept = DUE.with(Cell::take).map(ManuallyDrop::into_inner);
        assert_eq!(kept.is_some(), number == KEPT, "{number}");
        assert!(kept.is_none_or(|kept| kept.wakes.is_empty() && kept.drops.is_empty()));
    }
    assert_eq!(LIVE.with(Cell::get), 0);
}
