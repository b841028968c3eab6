//! What a connection takes of the server's memory, over time.

/// What it may grow by from the first quarter of the time behind the warm-up to the last one.
const GROWTH: f64 = 0.05;

/// Memory of one kind for each connection.
#[derive(Debug)]
pub(crate) struct Memory {
    kind: &'static str,
    /// Seconds and bytes per connection, behind the warm-up.
    warm: Vec<(f64, f64)>,
}

impl Memory {
    /// One of `warm_up` equal parts of the time is the warm-up.
    pub(crate) fn new(kind: &'static str, warm_up: usize, mut samples: Vec<(f64, f64)>) -> Self {
        let warm = samples.split_off(samples.len() / warm_up);
        Self { kind, warm }
    }

    pub(crate) fn print(&self) {
        let bytes = || self.warm.iter().map(|(_, bytes)| *bytes);
        println!(
            "{}: {:.0} to {:.0} bytes per connection behind the warm-up, {:+.2} bytes per connection and minute",
            self.kind,
            bytes().fold(f64::MAX, f64::min),
            bytes().fold(0.0, f64::max),
            slope(&self.warm) * 60.0
        );
    }

    pub(crate) fn check(&self) {
        let quarter = self.warm.len() / 4;
        assert!(quarter > 0, "too short to say anything of memory: {} broadcasts", self.warm.len());
        // What is on its way takes some for a moment; what is left behind is always there.
        let begin = least(&self.warm[..quarter]);
        let end = least(&self.warm[self.warm.len() - quarter..]);
        assert!(
            end <= begin * (1.0 + GROWTH),
            "{}: {end:.0} bytes per connection in the end, {begin:.0} after the warm-up",
            self.kind
        );
    }
}

fn least(samples: &[(f64, f64)]) -> f64 {
    samples.iter().map(|(_, bytes)| *bytes).fold(f64::MAX, f64::min)
}

/// By which the second number grows with the first (least squares).
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let (mut both, mut square) = (0.0, 0.0);
    for sample in samples {
        both += (sample.0 - x) * (sample.1 - y);
        square += (sample.0 - x) * (sample.0 - x);
    }
    both / square
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: fn(f64) -> f64) -> Memory {
        Memory::new("memory", 5, (0..100).map(f64::from).map(|second| (second, bytes(second))).collect())
    }

    #[test]
    fn a_warm_up_is_no_growth() {
        let flat = memory(|second| if second < 15.0 { 100.0 * second } else { 1500.0 });
        flat.check();
        assert!(slope(&flat.warm).abs() < 1e-9);
    }

    #[test]
    #[should_panic(expected = "bytes per connection in the end")]
    fn memory_that_grows_is_found() {
        let growing = memory(|second| 1500.0 + 2.0 * second);
        assert!((slope(&growing.warm) - 2.0).abs() < 1e-9);
        growing.check();
    }
}
