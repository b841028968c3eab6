//! What the samples say, as Markdown and as JSON.

use std::fs;

use serde::Serialize;

use crate::{sample::Sample, scenario::Scenario};

/// The server whose costs the others' are compared with; where it was not measured, the first that was takes its
/// place.
const BASE: &str = "limit";

const RULES: &str = "\
Every number is the median of a server's quiet samples, those in which neither server nor load waited noticeably \
for a CPU; the spread is the least and the most of them. The ratio is the median of the ratios to `limit`, each \
within one repetition in which both were quiet. `*` marks what no quiet sample was left for: there all samples \
count. RSS is the server's, at the end of the window.
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
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What the samples were taken on.
#[derive(Debug, Serialize)]
struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
}

impl Machine {
    fn read() -> anyhow::Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        let info = fs::read_to_string("/proc/cpuinfo")?;
        let all = |key: &'static str| {
            let pairs = info.lines().filter_map(|line| line.split_once(':'));
            pairs.filter(move |(name, _)| name.trim() == key).map(|(_, value)| value.trim())
        };
        // Not every architecture names its model.
        let cpu = all("model name").next().unwrap_or("unknown").to_owned();
        Ok(Self { kernel, cpu, cores: all("processor").count() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Seen;

    const ECHO: Scenario = Scenario::Echo { connections: 1, depth: 1, size: 64 };
    const IDLE: Scenario = Scenario::Idle { connections: 1000 };

    fn sample(server: &str, cpu_ns_per_operation: f64) -> Sample {
        Sample {
            server: server.to_owned(),
            scenario: ECHO,
            seen: Seen {
                operations: 1_234_567,
                seconds: 1.0,
                p50_us: 40.0,
                p99_us: 90.0,
                frames_per_read: 2.0,
            },
            cpu_ns_per_operation,
            waited: 0.0,
            generator_busy: 0.5,
            rss_bytes: 3 << 20,
            bytes_per_connection: None,
        }
    }

    fn noisy(server: &str, cpu_ns_per_operation: f64) -> Sample {
        Sample { waited: 0.5, ..sample(server, cpu_ns_per_operation) }
    }

    fn idle(server: &str, before: f64, after: f64) -> Sample {
        let seen = Seen { operations: 1000, ..Seen::default() };
        let bytes_per_connection = Some((before, after));
        Sample { scenario: IDLE, seen, bytes_per_connection, ..sample(server, 0.0) }
    }

    fn row(samples: &[Sample], server: &str) -> Summary {
        summaries(samples).into_iter().find(|row| row.server == server).unwrap()
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median([9.0, 1.0, 3.0, 5.0].into_iter()), Some(4.0));
        assert_eq!(median([9.0, 1.0, 3.0].into_iter()), Some(3.0));
        assert_eq!(median([f64::NAN, f64::INFINITY].into_iter()), None);
    }

    #[test]
    fn a_row_is_of_the_quiet_samples_alone() {
        let ours = row(&[sample("ours", 30.0), noisy("ours", 900.0), sample("ours", 10.0)], "ours");
        assert_eq!((ours.quiet, ours.samples), (2, 3));
        assert_eq!((ours.cpu_ns_min, ours.cpu_ns_per_operation, ours.cpu_ns_max), (10.0, 20.0, 30.0));
    }

    #[test]
    fn a_row_without_quiet_samples_is_of_all_and_is_marked() {
        let samples = [noisy("ours", 30.0), noisy("ours", 900.0), noisy("ours", 10.0)];
        let ours = row(&samples, "ours");
        assert_eq!((ours.quiet, ours.cpu_ns_per_operation, ours.cpu_ns_max), (0, 30.0, 900.0));
        assert!(
            table(&samples).contains("\n| ours \\* | 1,234,567 | 30 | 10..900 | 1.00 \\* |"),
            "{}",
            table(&samples)
        );
    }

    #[test]
    fn the_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() {
        // The machine is slower from one repetition to the next; the medians alone would say 3.
        let limits = [10.0, 20.0, 40.0].map(|cpu| sample("limit", cpu));
        let ours = [20.0, 60.0, 80.0].map(|cpu| sample("ours", cpu));
        let samples = [limits, ours].concat();
        assert_eq!(row(&samples, "ours").ratio, Some(2.0));
        assert_eq!(row(&samples, "limit").ratio, Some(1.0));
    }

    #[test]
    fn a_ratio_takes_only_repetitions_in_which_both_were_quiet() {
        let limits = [sample("limit", 10.0), noisy("limit", 1.0), sample("limit", 10.0)];
        let ours = [noisy("ours", 900.0), sample("ours", 500.0), sample("ours", 30.0)];
        let ours = row(&[limits, ours].concat(), "ours");
        assert_eq!((ours.ratio, ours.ratio_is_quiet), (Some(3.0), true));
    }

    #[test]
    fn a_ratio_without_a_common_quiet_repetition_is_marked() {
        let samples = [noisy("limit", 10.0), sample("ours", 20.0)];
        assert_eq!(row(&samples, "ours").ratio, Some(2.0));
        assert!(table(&samples).contains("| 2.00 \\* |"), "{}", table(&samples));
    }

    #[test]
    fn an_idle_row_shows_bytes_per_connection() {
        let samples = [idle("ours", 2000.0, 3000.0), idle("ours", 4000.0, 5000.0)];
        let table = table(&samples);
        assert!(table.contains("\n### idle 1000\n"), "{table}");
        assert!(table.contains("\n| ours | 3,000 | 4,000 | 3.0 | 2/2 |\n"), "{table}");
        assert!(!table.contains("CPU ns per"), "{table}");
        assert_eq!(row(&samples, "ours").per_second, None);
    }

    #[test]
    fn scenarios_and_servers_keep_the_order_of_their_first_appearance() {
        let samples = [idle("b", 1.0, 1.0), sample("b", 1.0), sample("a", 1.0), idle("a", 1.0, 1.0)];
        let rows = summaries(&samples);
        let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.server.as_str())).collect();
        let echo = "echo C1 D1 64 B";
        assert_eq!(rows, [("idle 1000", "b"), ("idle 1000", "a"), (echo, "b"), (echo, "a")]);
    }

    #[test]
    fn the_rows_of_a_table_are_as_wide_as_its_header() {
        for scenario in Scenario::small() {
            let table = table(&[Sample { scenario, ..sample("ours", 1.0) }]);
            let widths: Vec<_> =
                table.lines().filter(|l| l.starts_with('|')).map(|l| l.matches('|').count()).collect();
            assert_eq!(widths.len(), 3, "{table}");
            assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
        }
    }

    #[test]
    fn the_json_holds_the_machine_all_samples_and_all_rows() {
        let samples =
            [sample("limit", 10.0), sample("ours", 20.0), sample("ours", 30.0), idle("ours", 1.0, 2.0)];
        let json: serde_json::Value = serde_json::from_str(&json(&samples).unwrap()).unwrap();
        assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
        assert_eq!(json["summaries"][1]["cpu_ns_per_operation"], 25.0);
        assert_eq!(json["summaries"][2]["per_second"], serde_json::Value::Null);
        let back: Vec<Sample> = serde_json::from_value(json["samples"].clone()).unwrap();
        assert_eq!(back.len(), 4);
        assert_eq!(back[3].bytes_per_connection, Some((1.0, 2.0)));
    }
}
