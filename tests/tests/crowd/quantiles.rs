//! What is in the middle of many values, and what few of them exceed.

/// p50, p99 and the largest of some values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Quantiles {
    pub(crate) count: usize,
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) max: u32,
}

impl Quantiles {
    pub(crate) fn of(values: impl IntoIterator<Item = u32>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        let Some(&max) = values.last() else { return Self::default() };
        Self { count: values.len(), p50: values[values.len() / 2], p99: values[values.len() * 99 / 100], max }
    }

    /// As milliseconds, if they were microseconds.
    pub(crate) fn millis(self) -> String {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(|micros| f64::from(micros) / 1000.0);
        format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms ({} of them)", self.count)
    }
}
