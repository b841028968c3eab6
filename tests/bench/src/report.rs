//! What the samples say, as Markdown and as JSON.

use serde::Serialize;

use self::machine::Machine;
use crate::{
    sample::{Churned, Sample},
    scenario::Scenario,
};

mod machine;

/// The server whose costs the others' are compared with; where it was not measured, the first that was takes its
/// place.
const BASE: &str = "limit";

const RULES: &str = "\
Every number is the median of a server's quiet samples, those in which neither server nor load waited noticeably \
for a CPU; the spread is the least and the most of them. The ratio is the median of the ratios to `limit`, each \
within one repetition in which both were quiet. `*` marks what no quiet sample was left for: there all samples \
count. RSS is the server's, at the end of the window.
";

const RULES_OF_CHURN: &str = "\
Beside the receivers others connect and hang up. The ratio is of the cost meanwhile. *Quiet* is the cost in a window \
before without them, and a join what each of them took beyond that, from its handshake to its end, with what was sent \
to it in between.
";

const RULES_OF_CLIENTS: &str = "\
The client is measured here: CPU time and memory are its own, and the ratio is to the first.
";

/// All samples of one server in one scenario, as one row.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub server: String,
    pub scenario: Scenario,
    /// The scenario as people read it.
    pub name: String,
    pub samples: usize,
    /// If there is none, the numbers below are of all samples.
    pub quiet: usize,
    /// What one `operation` is.
    pub operation: &'static str,
    pub per_second: Option<f64>,
    pub cpu_ns_per_operation: f64,
    pub cpu_ns_min: f64,
    pub cpu_ns_max: f64,
    /// CPU time per operation, divided by that of `limit`.
    pub ratio: Option<f64>,
    /// Whether each repetition behind the ratio was quiet for both.
    pub ratio_is_quiet: bool,
    pub p50_us: f64,
    pub p99_us: f64,
    pub frames_per_read: f64,
    /// Near 1 it is the load that limits the operations per second, not the server.
    pub generator_busy: f64,
    pub rss_bytes: f64,
    /// Idle rows: before and after one message each.
    pub bytes_per_connection: Option<(f64, f64)>,
    /// Rows with churn.
    pub churn: Option<Churned>,
}

/// One table per scenario, one row per server.
pub fn table(samples: &[Sample]) -> String {
    let summaries = summaries(samples);
    let mut out = RULES.to_owned();
    for rows in summaries.chunk_by(|one, next| one.scenario == next.scenario) {
        let scenario = rows[0].scenario;
        out += &format!("\n### {scenario}\n\n");
        if scenario.is_of_clients() {
            out += RULES_OF_CLIENTS;
            out += "\n";
        }
        if let Scenario::Churn { .. } = scenario {
            out += RULES_OF_CHURN;
            out += "\n";
        }
        out += &header(&columns(scenario));
        for row in rows {
            out += &line(&row.cells());
        }
    }
    out
}

/// Every sample, every row, and the machine they are of.
pub fn json(samples: &[Sample]) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Report<'a> {
        machine: Machine,
        summaries: Vec<Summary>,
        samples: &'a [Sample],
    }
    let report = Report { machine: Machine::read()?, summaries: summaries(samples), samples };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The rows: scenarios, and the servers of each, in the order in which they were measured first.
pub fn summaries(samples: &[Sample]) -> Vec<Summary> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for sample in samples {
        if !scenarios.contains(&sample.scenario) {
            scenarios.push(sample.scenario);
        }
    }
    let mut rows = Vec::new();
    for scenario in scenarios {
        let mut servers: Vec<(&str, Vec<&Sample>)> = Vec::new();
        for sample in samples.iter().filter(|sample| sample.scenario == scenario) {
            match servers.iter_mut().find(|(name, _)| *name == sample.server) {
                Some((_, repetitions)) => repetitions.push(sample),
                None => servers.push((&sample.server, vec![sample])),
            }
        }
        let base = servers.iter().find(|(name, _)| *name == BASE).or(servers.first());
        let base = base.map_or(&[][..], |(_, of_base)| of_base);
        rows.extend(servers.iter().map(|(_, repetitions)| Summary::new(repetitions[0], repetitions, base)));
    }
    rows
}

impl Summary {
    /// `base` are the samples of `limit`, in order of repetition as `repetitions` are.
    fn new(first: &Sample, repetitions: &[&Sample], base: &[&Sample]) -> Self {
        let quiet: Vec<_> = repetitions.iter().copied().filter(|sample| sample.is_quiet()).collect();
        let counted = if quiet.is_empty() { repetitions } else { &quiet };
        let middle =
            |of: fn(&Sample) -> f64| median(counted.iter().map(|sample| of(sample))).unwrap_or_default();
        let cpu = counted.iter().map(|sample| sample.cpu_ns_per_operation);
        let (ratio, ratio_is_quiet) = ratio(repetitions, base);
        let bytes_per_connection = median(counted.iter().filter_map(|s| Some(s.bytes_per_connection?.0)))
            .zip(median(counted.iter().filter_map(|s| Some(s.bytes_per_connection?.1))));
        let churned =
            |of: fn(&Churned) -> f64| median(counted.iter().filter_map(|s| s.churn.as_ref().map(of)));
        let churn =
            churned(|churn| churn.quiet_cpu_ns_per_operation).map(|quiet_cpu_ns_per_operation| Churned {
                quiet_cpu_ns_per_operation,
                joins_per_second: churned(|churn| churn.joins_per_second).unwrap_or_default(),
                cpu_us_per_join: median(counted.iter().filter_map(|s| s.churn?.cpu_us_per_join)),
            });
        Self {
            server: first.server.clone(),
            scenario: first.scenario,
            name: first.scenario.to_string(),
            samples: repetitions.len(),
            quiet: quiet.len(),
            operation: first.scenario.operation(),
            per_second: median(counted.iter().map(|sample| sample.per_second())),
            cpu_ns_per_operation: middle(|sample| sample.cpu_ns_per_operation),
            cpu_ns_min: cpu.clone().reduce(f64::min).unwrap_or_default(),
            cpu_ns_max: cpu.reduce(f64::max).unwrap_or_default(),
            ratio,
            ratio_is_quiet,
            p50_us: middle(|sample| sample.seen.p50_us),
            p99_us: middle(|sample| sample.seen.p99_us),
            frames_per_read: middle(|sample| sample.seen.frames_per_read),
            generator_busy: middle(|sample| sample.generator_busy),
            rss_bytes: middle(|sample| sample.rss_bytes as f64),
            bytes_per_connection,
            churn,
        }
    }

    fn cells(&self) -> Vec<String> {
        let mark = if self.quiet == 0 { " \\*" } else { "" };
        let mut cells = vec![format!("{}{mark}", self.server)];
        let bytes = |of: fn((f64, f64)) -> f64| self.bytes_per_connection.map(|both| thousands(of(both)));
        match self.scenario {
            Scenario::Idle { .. } | Scenario::IdleTls { .. } => {
                cells.extend([or_none(bytes(|both| both.0)), or_none(bytes(|both| both.1))])
            }
            Scenario::Clients { .. } => cells.push(or_none(bytes(|both| both.1))),
            _ => {
                let mark = if self.ratio_is_quiet { "" } else { " \\*" };
                cells.extend([
                    or_none(self.per_second.map(thousands)),
                    thousands(self.cpu_ns_per_operation),
                    format!("{}..{}", thousands(self.cpu_ns_min), thousands(self.cpu_ns_max)),
                    or_none(self.ratio.map(|ratio| format!("{ratio:.2}{mark}"))),
                    format!("{} / {}", thousands(self.p50_us), thousands(self.p99_us)),
                    or_none((self.frames_per_read > 0.0).then(|| format!("{:.1}", self.frames_per_read))),
                ]);
            }
        }
        if let Some(churn) = self.churn {
            cells.extend([
                thousands(churn.quiet_cpu_ns_per_operation),
                thousands(churn.joins_per_second),
                or_none(churn.cpu_us_per_join.map(thousands)),
            ]);
        }
        let rss = self.rss_bytes / f64::from(1 << 20);
        cells.extend([format!("{rss:.1}"), format!("{}/{}", self.quiet, self.samples)]);
        cells
    }
}

/// The median of the ratios of the repetitions in which both were quiet, or of all if there is none such. Whether
/// they were quiet.
fn ratio(repetitions: &[&Sample], base: &[&Sample]) -> (Option<f64>, bool) {
    let ratios = |wanted: fn(&Sample) -> bool| {
        let pairs = repetitions.iter().zip(base).filter(move |(sample, base)| wanted(sample) && wanted(base));
        median(pairs.map(|(sample, base)| sample.cpu_ns_per_operation / base.cpu_ns_per_operation))
    };
    match ratios(Sample::is_quiet) {
        Some(ratio) => (Some(ratio), true),
        None => (ratios(|_| true), false),
    }
}

/// What is not a finite number, as operations in no time, does not count.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

fn columns(scenario: Scenario) -> Vec<String> {
    let subject = if scenario.is_of_clients() { "client" } else { "server" };
    let operation = scenario.operation();
    let mut columns = vec![subject.to_owned()];
    match scenario {
        Scenario::Idle { .. } | Scenario::IdleTls { .. } => {
            columns.extend(["bytes per connection before a message".to_owned(), "after one".to_owned()]);
        }
        Scenario::Clients { .. } => columns.push("bytes per connection after one message".to_owned()),
        _ => columns.extend([
            format!("{} per second", plural(operation)),
            format!("CPU ns per {operation}"),
            "spread".to_owned(),
            "ratio".to_owned(),
            "p50 / p99 µs".to_owned(),
            "frames per read".to_owned(),
        ]),
    }
    if let Scenario::Churn { .. } = scenario {
        let quiet = format!("quiet CPU ns per {operation}");
        columns.extend([quiet, "joins per second".to_owned(), "CPU µs per join".to_owned()]);
    }
    columns.extend(["RSS MiB".to_owned(), "quiet samples".to_owned()]);
    columns
}

fn plural(operation: &str) -> String {
    match operation.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{operation}s"),
    }
}

/// The first column is text, the others are numbers.
fn header(columns: &[String]) -> String {
    let rule: Vec<_> = (0..columns.len()).map(|at| if at == 0 { "---" } else { "---:" }.to_owned()).collect();
    line(columns) + &line(&rule)
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn or_none(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "–".to_owned())
}

/// Rounded, with a comma between groups of three digits.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = if value.round() < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
