use super::*;
use crate::sample::Seen;

const ECHO: Scenario = Scenario::Echo { connections: 1, depth: 1, size: 64 };
const CHURNED: Churned =
    Churned { quiet_cpu_ns_per_operation: 400.0, joins_per_second: 499.6, cpu_us_per_join: Some(60.0) };
const IDLE: Scenario = Scenario::Idle { connections: 1000 };

fn sample(server: &str, cpu_ns_per_operation: f64) -> Sample {
    Sample {
        server: server.to_owned(),
        scenario: ECHO,
        seen: Seen { operations: 1_234_567, seconds: 1.0, p50_us: 40.0, p99_us: 90.0, frames_per_read: 2.0 },
        cpu_ns_per_operation,
        waited: 0.0,
        generator_busy: 0.5,
        rss_bytes: 3 << 20,
        bytes_per_connection: None,
        churn: None,
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
fn commas_are_between_groups_of_three_digits_and_nowhere_else() {
    let numbers = [0.0, 999.4, 1000.0, 1_234_567.0, -177.0, -1234.0, -0.2].map(thousands);
    assert_eq!(numbers, ["0", "999", "1,000", "1,234,567", "-177", "-1,234", "0"]);
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
        let churn = matches!(scenario, Scenario::Churn { .. }).then_some(CHURNED);
        let table = table(&[Sample { scenario, churn, ..sample("ours", 1.0) }]);
        let widths: Vec<_> =
            table.lines().filter(|l| l.starts_with('|')).map(|l| l.matches('|').count()).collect();
        assert_eq!(widths.len(), 3, "{table}");
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}

#[test]
fn the_json_holds_the_machine_all_samples_and_all_rows() {
    let samples = [sample("limit", 10.0), sample("ours", 20.0), sample("ours", 30.0), idle("ours", 1.0, 2.0)];
    let json: serde_json::Value = serde_json::from_str(&json(&samples).unwrap()).unwrap();
    assert!(json["machine"]["cores"].as_u64().unwrap() > 0);
    assert_eq!(json["summaries"][1]["cpu_ns_per_operation"], 25.0);
    assert_eq!(json["summaries"][2]["per_second"], serde_json::Value::Null);
    let back: Vec<Sample> = serde_json::from_value(json["samples"].clone()).unwrap();
    assert_eq!(back.len(), 4);
    assert_eq!(back[3].bytes_per_connection, Some((1.0, 2.0)));
}

#[test]
fn a_row_with_churn_shows_what_it_was_before_and_what_a_join_took() {
    let scenario = Scenario::Churn { receivers: 1000, window: 8, size: 128, rate: 500 };
    let of = |quiet_cpu_ns_per_operation: f64, cpu_ns: f64| Sample {
        scenario,
        churn: Some(Churned { quiet_cpu_ns_per_operation, ..CHURNED }),
        ..sample("ours", cpu_ns)
    };
    let samples = [of(300.0, 500.0), of(500.0, 700.0)];
    assert!(table(&samples).contains("| 400 | 500 | 60 | 3.0 | 2/2 |\n"), "{}", table(&samples));
    let nobody = Churned { joins_per_second: 0.0, cpu_us_per_join: None, ..CHURNED };
    let busy = Sample { churn: Some(nobody), ..of(400.0, 500.0) };
    assert!(
        table(std::slice::from_ref(&busy)).contains("| 400 | 0 | – | 3.0 | 1/1 |\n"),
        "{}",
        table(std::slice::from_ref(&busy))
    );
}
