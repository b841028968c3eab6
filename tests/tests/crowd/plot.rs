//! A run, drawn over time.

use std::{error::Error, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::report::{Point, Report};

const SIZE: (u32, u32) = (960, 720);
const FONT: &str = "sans-serif";

/// Three lines below each other: how many connections, what each takes, and how late a broadcast is.
const LINES: [(&str, RGBColor, fn(&Point) -> f64); 3] = [
    ("connections", RGBColor(0x00, 0x72, 0xb2), |point| point.connections as f64),
    ("server, bytes per connection", RGBColor(0xd5, 0x5e, 0x00), |point| point.bytes),
    ("p99 of a broadcast, ms", RGBColor(0x00, 0x9e, 0x73), |point| f64::from(point.latency.p99) / 1000.0),
];

/// Draws an SVG.
pub(crate) fn draw<'a>(report: &Report, path: &'a Path) -> Result<(), Box<dyn Error + 'a>> {
    let most = report.points.iter().map(|point| point.connections).max().unwrap_or_default();
    // With few connections what the server itself has taken for more of them is no measure.
    let points: Vec<_> = report.points.iter().filter(|point| point.connections * 2 >= most).collect();
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    for (part, (name, colour, value)) in area.split_evenly((3, 1)).iter().zip(LINES) {
        let values: Vec<_> = points.iter().map(|point| (point.seconds, value(point))).collect();
        line(part, name, colour, &values)?;
    }
    area.present()?;
    Ok(())
}

fn line<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    name: &str,
    colour: RGBColor,
    values: &[(f64, f64)],
) -> Result<(), Box<dyn Error + 'a>> {
    let end = values.last().ok_or("nothing to draw")?.0;
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(32)
        .caption(name, (FONT, 17))
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(0.0..end.max(1.0), 0.0..most.max(1.0) * 1.15)?;
    chart
        .configure_mesh()
        .x_desc("s")
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 14))
        .bold_line_style(BLACK.mix(0.15))
        .light_line_style(TRANSPARENT)
        .x_labels(12)
        .y_labels(6)
        .x_label_formatter(&|second| format!("{second:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    chart.draw_series(LineSeries::new(values.iter().copied(), colour.stroke_width(2)))?;
    Ok(())
}
