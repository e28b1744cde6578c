//! The picture: throughput and latency of each way to serve, as SVG.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::measure::{Run, Way};

const SIZE: (u32, u32) = (960, 400);
const FONT: &str = "sans-serif";
const DARK: RGBColor = RGBColor(38, 84, 124);
const LIGHT: RGBColor = RGBColor(140, 178, 209);

/// Draws throughput on the left and latencies on the right.
pub(crate) fn svg(title: &str, ways: &[Way], runs: &[Run]) -> Result<String> {
    let mut text = String::new();
    // What its errors refer to does not outlive the text.
    draw(&mut text, title, ways, runs).map_err(|error| error.to_string())?;
    Ok(text)
}

fn draw(
    text: &mut String,
    title: &str,
    ways: &[Way],
    runs: &[Run],
) -> std::result::Result<(), Box<dyn Error>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, (FONT, 16))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    let names: Vec<_> = ways.iter().map(Way::to_string).collect();
    let rates = runs.iter().map(|run| run.requests_per_second);
    let medians = runs.iter().map(|run| run.median_ms);
    let p99s = runs.iter().map(|run| run.p99_ms);
    let rates = [("", DARK, rates.collect())];
    bars(&left, "requests/s: more is better", &names, &rates)?;
    let latencies = [
        ("median", DARK, medians.collect()),
        ("p99", LIGHT, p99s.collect()),
    ];
    bars(&right, "latency in ms: less is better", &names, &latencies)?;
    root.present()?;
    Ok(())
}

/// Name, colour, and a height for each place.
type Series<'a> = (&'a str, RGBColor, Vec<f64>);

fn bars<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    caption: &str,
    names: &[String],
    series: &[Series<'_>],
) -> std::result::Result<(), Box<dyn Error>>
where
    DB::ErrorType: 'static,
{
    let heights = series.iter().flat_map(|(_, _, heights)| heights);
    let top = heights.copied().fold(0.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 15))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(55)
        .build_cartesian_2d(0.0..names.len() as f64, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 12))
        .y_label_formatter(&|height| format!("{height:.0}"))
        .draw()?;

    // A place is 1 wide, and a fifth of it is empty.
    let width = 0.8 / series.len() as f64;
    for (index, (name, colour, heights)) in series.iter().enumerate() {
        let colour = *colour;
        let left = move |place: usize| place as f64 + 0.1 + index as f64 * width;
        let bar = |(place, height): (usize, &f64)| {
            let corners = [(left(place), 0.0), (left(place) + width, *height)];
            Rectangle::new(corners, colour.filled())
        };
        let drawn = chart.draw_series(heights.iter().enumerate().map(bar))?;
        if !name.is_empty() {
            let sample =
                move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled());
            drawn.label(*name).legend(sample);
        }
        let number = |(place, height): (usize, &f64)| {
            let above = (left(place) + width / 2.0, *height);
            Text::new(format!("{height:.0}"), above, text(VPos::Bottom))
        };
        chart.draw_series(heights.iter().enumerate().map(number))?;
    }
    let name = |(place, name): (usize, &String)| {
        let below = (place as f64 + 0.5, 0.0);
        EmptyElement::at(below) + Text::new(name.clone(), (0, 6), text(VPos::Top))
    };
    chart.draw_series(names.iter().enumerate().map(name))?;
    if series.len() > 1 {
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperRight);
        legend.label_font((FONT, 12)).draw()?;
    }
    Ok(())
}

/// Small text, centred over or under its place.
fn text(vertical: VPos) -> TextStyle<'static> {
    let middle = Pos::new(HPos::Center, vertical);
    TextStyle::from((FONT, 12).into_font()).pos(middle)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn the_picture_has_a_bar_for_each_number() {
        let run = |requests_per_second, median_ms, p99_ms| Run {
            answers: Vec::new(),
            requests_per_second,
            median_ms,
            p99_ms,
            batch: 1.0,
        };
        let ways = [Way::OneAtATime, Way::Batched(NonZeroUsize::MIN)];
        let runs = [run(100.0, 640.0, 651.0), run(1_000.0, 70.0, 81.0)];
        let svg = svg("a network", &ways, &runs).unwrap();
        let texts = [
            "a network",
            "one at a time",
            "up to 1",
            "100",
            "1000",
            "640",
            "651",
            "70",
            "81",
        ];
        for text in texts {
            assert!(
                svg.contains(&format!("\n{text}\n</text>")),
                "no {text} in {svg}"
            );
        }
        let bars = |colour| svg.matches(colour).count();
        // And one in the legend.
        assert_eq!((bars("#26547C"), bars("#8CB2D1")), (5, 3));
    }
}
