//! What compression has saved.

use websockets_simple_core::{CompressionFigures, figures::Figure};

pub(super) fn list(figures: &CompressionFigures) -> Figure {
    let directions = [("received", figures.received), ("sent", figures.sent)];
    let forms = directions.into_iter().flat_map(|(direction, bytes)| {
        [(direction, "plain", bytes.plain), (direction, "compressed", bytes.compressed)]
    });
    forms.fold(
        Figure::counter(
            "ws_compression_bytes_total",
            "Bytes of compressed messages, as they are and as they are on the wire.",
        ),
        |figure, (direction, form, bytes)| {
            figure.labelled(vec![("direction", direction.into()), ("form", form.into())], bytes as f64)
        },
    )
}
