//! Figures of what a program does, in the form in which monitoring takes them.

use std::{borrow::Cow, fmt::Write, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// One figure, with a value for each combination of its labels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Figure {
    /// Its name. That of a counter ends with `_total`.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub kind: FigureKind,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// How a figure changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FigureKind {
    /// It grows, until the program ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts values up to each of several bounds.
    Histogram,
}

/// One value of a figure.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// What is put behind the name: something only for the parts of a histogram.
    pub suffix: &'static str,
    /// The labels. Their values are those of enumerations: users, channels and paths would be too many.
    pub labels: Vec<Label>,
    /// The value.
    pub value: f64,
}

/// A label and its value.
pub type Label = (&'static str, Cow<'static, str>);

impl Figure {
    /// A figure that grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: FigureKind::Counter, samples: Vec::new() }
    }

    /// A figure that goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: FigureKind::Gauge, samples: Vec::new() }
    }

    /// A figure of times, in seconds.
    #[must_use]
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: FigureKind::Histogram, samples: Vec::new() }
    }

    /// With its one value.
    #[must_use]
    pub fn of(self, value: f64) -> Self {
        self.sample("", Vec::new(), value)
    }

    /// With a value for each value of a label.
    #[must_use]
    pub fn by<L: Into<Cow<'static, str>>>(
        self,
        label: &'static str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> Self {
        values
            .into_iter()
            .fold(self, |figure, (of, value)| figure.sample("", vec![(label, of.into())], value))
    }

    /// With a value for these labels.
    #[must_use]
    pub fn labelled(self, labels: Vec<Label>, value: f64) -> Self {
        self.sample("", labels, value)
    }

    /// With the times of something.
    #[must_use]
    pub fn timed(mut self, label: Label, timing: &Timing) -> Self {
        let mut count = 0;
        for (bound, within) in Timing::BOUNDS.iter().zip(timing.within) {
            count += within;
            let bound = ("le", bound.as_secs_f64().to_string().into());
            self = self.sample("_bucket", vec![label.clone(), bound], count as f64);
        }
        let all = ("le", "+Inf".into());
        self.sample("_bucket", vec![label.clone(), all], timing.count as f64)
            .sample("_sum", vec![label.clone()], timing.total.as_secs_f64())
            .sample("_count", vec![label], timing.count as f64)
    }

    fn sample(mut self, suffix: &'static str, labels: Vec<Label>, value: f64) -> Self {
        self.samples.push(Sample { suffix, labels, value });
        self
    }
}

impl FigureKind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Figures in the [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) of Prometheus, version 0.0.4.
#[must_use]
pub fn prometheus_text(figures: &[Figure]) -> String {
    let mut text = String::new();
    for Figure { name, help, kind, samples } in figures {
        // Writing to a String does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
        for Sample { suffix, labels, value } in samples {
            let _ = write!(text, "{name}{suffix}");
            for (place, (label, of)) in labels.iter().enumerate() {
                let _ = write!(text, "{}{label}=\"{of}\"", if place == 0 { '{' } else { ',' });
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
    text
}

/// Hands figures to the recorder of the crate `metrics`, if one is installed: counters as absolute values, the parts of a
/// histogram as figures of their own.
#[cfg(feature = "metrics")]
pub fn record(figures: &[Figure]) {
    for Figure { name, help, kind, samples } in figures {
        for Sample { suffix, labels, value } in samples {
            let name = format!("{name}{suffix}");
            let labels: Vec<_> = labels
                .iter()
                .map(|(label, of)| metrics::Label::new(*label, of.clone().into_owned()))
                .collect();
            // Counters of that crate are whole numbers, and a sum of times is none.
            match (kind, *suffix) {
                (FigureKind::Gauge, _) | (FigureKind::Histogram, "_sum") => {
                    metrics::describe_gauge!(name.clone(), *help);
                    metrics::gauge!(name, labels).set(*value);
                }
                _ => {
                    metrics::describe_counter!(name.clone(), *help);
                    metrics::counter!(name, labels).absolute(*value as u64);
                }
            }
        }
    }
}

/// How often something was done, and how long it took. Serialized as `count` and `seconds`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Timing {
    /// How often.
    pub count: u64,
    /// How long all of it took.
    pub total: Duration,
    /// How often it took longer than the bound before, and not longer than this [bound](Self::BOUNDS).
    pub within: [u64; Self::BOUNDS.len()],
}

impl Timing {
    /// What times are told apart by.
    pub const BOUNDS: [Duration; 8] = [
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(20),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(20),
    ];

    /// Counts one time.
    pub fn add(&mut self, time: Duration) {
        self.count += 1;
        self.total = self.total.saturating_add(time);
        if let Some(place) = Self::BOUNDS.iter().position(|bound| time <= *bound) {
            self.within[place] += 1;
        }
    }
}

impl Serialize for Timing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut timing = serializer.serialize_struct("Timing", 2)?;
        timing.serialize_field("count", &self.count)?;
        timing.serialize_field("seconds", &self.total.as_secs_f64())?;
        timing.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_kind_and_each_sample_its_labels() {
        let mut timing = Timing::default();
        for millis in [1, 3, 30_000] {
            timing.add(Duration::from_millis(millis));
        }
        let figures = [
            Figure::gauge("a", "Alone.").of(1.5),
            Figure::counter("b_total", "By two.").by("of", [("x", 2.0), ("y", 3e9)]),
            Figure::counter("c_total", "Two labels.")
                .labelled(vec![("of", "x".into()), ("by", "y".into())], 0.0),
            Figure::histogram("d_seconds", "Times.").timed(("of", "x".into()), &timing),
        ];
        let expected = "\
            # HELP a Alone.\n# TYPE a gauge\na 1.5\n\
            # HELP b_total By two.\n# TYPE b_total counter\nb_total{of=\"x\"} 2\nb_total{of=\"y\"} 3000000000\n\
            # HELP c_total Two labels.\n# TYPE c_total counter\nc_total{of=\"x\",by=\"y\"} 0\n\
            # HELP d_seconds Times.\n# TYPE d_seconds histogram\n\
            d_seconds_bucket{of=\"x\",le=\"0.001\"} 1\nd_seconds_bucket{of=\"x\",le=\"0.005\"} 2\n\
            d_seconds_bucket{of=\"x\",le=\"0.02\"} 2\nd_seconds_bucket{of=\"x\",le=\"0.1\"} 2\n\
            d_seconds_bucket{of=\"x\",le=\"0.5\"} 2\nd_seconds_bucket{of=\"x\",le=\"1\"} 2\n\
            d_seconds_bucket{of=\"x\",le=\"5\"} 2\nd_seconds_bucket{of=\"x\",le=\"20\"} 2\n\
            d_seconds_bucket{of=\"x\",le=\"+Inf\"} 3\nd_seconds_sum{of=\"x\"} 30.004\nd_seconds_count{of=\"x\"} 3\n";
        assert_eq!(prometheus_text(&figures), expected);
    }

    #[test]
    fn times_are_written_in_seconds() {
        let mut timing = Timing::default();
        timing.add(Duration::from_millis(250));
        assert_eq!(serde_json::to_string(&timing).unwrap(), r#"{"count":1,"seconds":0.25}"#);
    }
}
