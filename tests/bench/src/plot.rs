//! What a delivery costs, drawn against the number of receivers.

use std::path::Path;

use anyhow::ensure;
use plotters::prelude::*;

use crate::{report::Summary, scenario::Scenario};

const SIZE: (u32, u32) = (960, 560);
const FONT: &str = "sans-serif";

/// Told apart also by those who see fewer colours.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x60, 0x60, 0x60),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x8a, 0x6d, 0x00),
    RGBColor(0x00, 0x00, 0x00),
];

/// A server and its points: receivers, CPU time of a delivery.
type ConnectionShared<'a> = (&'a str, Vec<(f64, f64)>);

/// Draws an SVG of the broadcasts with 8 messages of 128 B on their way, one line per server.
pub fn fanout(summaries: &[Summary], path: &Path) -> anyhow::Result<()> {
    let lines = lines(summaries);
    ensure!(!lines.is_empty(), "nothing to draw: no broadcast of 128 B with 8 on their way was measured");
    let costs = || lines.iter().flat_map(|(_, points)| points.iter().map(|(_, cost)| *cost));
    let (least, most) = (costs().fold(f64::MAX, f64::min), costs().fold(0.0, f64::max));
    // Ticks begin at a power of ten, so the axis begins just below one.
    let floor = 0.95 * 10f64.powf(least.log10().floor());

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .margin_right(32)
        .caption("CPU time per delivery: one publisher, 128 B, 8 broadcasts on their way", (FONT, 20))
        .x_label_area_size(56)
        .y_label_area_size(80)
        .build_cartesian_2d((9.5..10_500.0).log_scale(), (floor..most * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("receivers")
        .y_desc("CPU time of the server per delivery, ns")
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .bold_line_style(BLACK.mix(0.15))
        .light_line_style(TRANSPARENT)
        // Enough of them that every decade has its nine.
        .x_labels(50)
        .y_labels(50)
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .draw()?;
    for ((server, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.filled().stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(4))?
            .label(*server)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 16))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .margin(12)
        .draw()?;
    area.present()?;
    Ok(())
}

fn lines(summaries: &[Summary]) -> Vec<ConnectionShared<'_>> {
    let mut lines: Vec<ConnectionShared<'_>> = Vec::new();
    for row in summaries {
        let Scenario::Fanout { receivers, window: 8, size: 128 } = row.scenario else { continue };
        // What cost nothing measurable has no place on a logarithmic axis.
        if row.cpu_ns_per_operation <= 0.0 {
            continue;
        }
        let point = (receivers as f64, row.cpu_ns_per_operation);
        match lines.iter_mut().find(|(server, _)| *server == row.server) {
            Some((_, points)) => points.push(point),
            None => lines.push((&row.server, vec![point])),
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    lines
}

/// 1, 2 and 5 of each decade; more would overlap.
fn tick(value: &f64) -> String {
    let number = format!("{value:.0}");
    match number.trim_end_matches('0') {
        "1" | "2" | "5" => number,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        report::summaries,
        sample::{Sample, Seen},
    };

    fn sample(server: &str, scenario: Scenario, cpu_ns_per_operation: f64) -> Sample {
        Sample {
            server: server.to_owned(),
            scenario,
            seen: Seen { operations: 1, seconds: 1.0, ..Seen::default() },
            cpu_ns_per_operation,
            waited: 0.0,
            generator_busy: 0.0,
            rss_bytes: 0,
            bytes_per_connection: None,
            churn: None,
        }
    }

    #[test]
    fn the_plot_names_every_server_and_both_axes() {
        let mut samples = Vec::new();
        for scenario in Scenario::sweep() {
            for (at, server) in ["limit", "ours", "axum", "ours (2 threads)"].into_iter().enumerate() {
                let Scenario::Fanout { receivers, .. } = scenario else { continue };
                let cost = 300.0 * (at + 1) as f64 + 4000.0 / receivers as f64;
                samples.push(sample(server, scenario, cost));
            }
        }
        let folder = std::env::temp_dir().join(format!("websockets-simple-plot-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("fanout.svg");
        fanout(&summaries(&samples), &path).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        for text in ["limit", "ours", "axum", "ours (2 threads)", "receivers", "ns", "10000", "1000", "200"] {
            assert!(svg.lines().any(|line| line.trim().ends_with(text)), "no {text} in\n{svg}");
        }
        assert!(svg.matches("<polyline").count() >= 4, "{svg}");
    }

    #[test]
    fn other_work_has_no_place_in_the_plot() {
        let others = [
            Scenario::Fanout { receivers: 10, window: 1, size: 128 },
            Scenario::Fanout { receivers: 10, window: 8, size: 4096 },
            Scenario::SlowReader { receivers: 10, window: 8, size: 128 },
        ];
        let samples = others.map(|scenario| sample("ours", scenario, 100.0));
        let path = std::env::temp_dir().join("websockets-simple-plot-of-nothing.svg");
        let drawn = fanout(&summaries(&samples), &path);
        assert!(drawn.unwrap_err().to_string().contains("nothing to draw"));
        assert!(!path.exists());
    }

    #[test]
    fn points_of_a_line_are_in_order_of_receivers() {
        let samples = [1000, 10, 100].map(|receivers| {
            sample("ours", Scenario::Fanout { receivers, window: 8, size: 128 }, receivers as f64)
        });
        let summaries = summaries(&samples);
        assert_eq!(lines(&summaries), [("ours", vec![(10.0, 10.0), (100.0, 100.0), (1000.0, 1000.0)])]);
    }
}
