//! A run, drawn over time.

use std::{error::Error, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::report::{Point, Report};

const SIZE: (u32, u32) = (960, 720);
const FONT: &str = "sans-serif";

/// A line: its name, its colour, and what it shows of a broadcast.
type Line = (&'static str, RGBColor, fn(&Point) -> f64);

/// Three parts below each other: how many connections, what each takes, and how late a broadcast is.
const PARTS: [(&str, &[Line]); 3] = [
    ("", &[("connections", RGBColor(0x00, 0x72, 0xb2), |point| point.connections as f64)]),
    (
        "bytes",
        &[
            ("resident", RGBColor(0xd5, 0x5e, 0x00), |point| point.bytes),
            ("heap in use", RGBColor(0x60, 0x60, 0x60), |point| point.heap),
        ],
    ),
    ("ms", &[("broadcast, p99", RGBColor(0x00, 0x9e, 0x73), |point| f64::from(point.latency.p99) / 1000.0)]),
];

/// Draws an SVG.
pub(crate) fn draw<'a>(report: &Report, path: &'a Path) -> Result<(), Box<dyn Error + 'a>> {
    let most = report.points.iter().map(|point| point.connections).max().unwrap_or_default();
    // With few connections what the server itself has taken for more of them is no measure.
    let points: Vec<_> =
        report.points.iter().filter(|point| point.connections * 2 >= most).copied().collect();
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    for (area, (unit, lines)) in area.split_evenly((PARTS.len(), 1)).iter().zip(PARTS) {
        part(area, unit, lines, &points)?;
    }
    area.present()?;
    Ok(())
}

fn part<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    unit: &str,
    lines: &[Line],
    points: &[Point],
) -> Result<(), Box<dyn Error + 'a>> {
    let end = points.last().ok_or("nothing to draw")?.seconds;
    let values = lines.iter().flat_map(|(.., value)| points.iter().map(value));
    let most = values.fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(88)
        .build_cartesian_2d(0.0..end.max(1.0), 0.0..most * 1.45)?;
    chart
        .configure_mesh()
        .x_desc("s")
        .y_desc(unit)
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 14))
        .bold_line_style(BLACK.mix(0.15))
        .light_line_style(TRANSPARENT)
        .x_labels(12)
        .y_labels(6)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for &(name, colour, value) in lines {
        let style = colour.filled().stroke_width(2);
        let values = points.iter().map(|point| (point.seconds, value(point)));
        chart
            .draw_series(LineSeries::new(values, style))?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 16, y + 5)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font((FONT, 15))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .margin(8)
        .draw()?;
    Ok(())
}
