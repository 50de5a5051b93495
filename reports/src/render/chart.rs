//! Stand-alone pictures for wikis and slides: SVG and PNG files with their own colours, readable on white. The PNG has
//! twice as many pixels, and brings its font along: there may be none where a report is made.

use super::labels::{self, Bounds, Wanted};
use super::{Format, Kept, Options, RenderError};
use crate::text::{self, Scale};
use crate::view::{View, typical};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io::Write;

macro_rules! picture_format {
    ($constant:ident, $chart:expr, $name:literal, $file:literal, $kind:literal, $text:literal, $write:ident, $about:literal) => {
        pub(super) const $constant: Format = Format {
            name: concat!($name, "-", $kind),
            file: concat!($file, ".", $kind),
            kept: Kept::Always,
            text: $text,
            about: $about,
            render: |source, _: &Options, out| {
                $write(&View::new(source.record, source.verdicts), $chart, out)
            },
        };
    };
}

picture_format!(
    LATENCY_SVG,
    Chart::Latency,
    "latency",
    "latency",
    "svg",
    true,
    write_svg,
    "change of latency per comparison, with intervals"
);
picture_format!(
    LATENCY_PNG,
    Chart::Latency,
    "latency",
    "latency",
    "png",
    false,
    write_png,
    "the same in pixels, for slides and wikis"
);
picture_format!(
    ACCURACY_SVG,
    Chart::AccuracyLatency,
    "accuracy-latency",
    "accuracy_latency",
    "svg",
    true,
    write_svg,
    "accuracy against latency, with intervals"
);
picture_format!(
    ACCURACY_PNG,
    Chart::AccuracyLatency,
    "accuracy-latency",
    "accuracy_latency",
    "png",
    false,
    write_png,
    "the same in pixels, for slides and wikis"
);

/// Rows of the forest plot, points of the scatter plot: more cannot be read.
const MAX_ROWS: usize = 40;
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILLION: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(90, 96, 104);
const BAND: RGBColor = RGBColor(226, 232, 240);
const WIDTH: u32 = 860;
/// Room for names left of the forest plot.
const NAMES: f64 = 290.0;
/// Width of a letter, rather too much than too little.
const NAME_ADVANCE: f64 = 7.2;
const FONT: &str = "sans-serif";

/// Pixels of a PNG for each of an SVG.
const SHARP: u32 = 2;
const FONT_FILE: &[u8] = include_bytes!("font/DejaVuSans.ttf");

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A picture.
#[derive(Clone, Copy)]
enum Chart {
    Latency,
    AccuracyLatency,
}

impl Chart {
    fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::AccuracyLatency => "accuracy_latency",
        }
    }

    /// Width and height, in pixels of an SVG.
    fn size(self, view: &View<'_>) -> (u32, u32) {
        match self {
            Self::Latency => (WIDTH, 90 + 24 * rows(view).len().max(1) as u32),
            Self::AccuracyLatency => (WIDTH, 480),
        }
    }

    /// Draws it, `scale` times as large.
    fn draw<B: DrawingBackend>(self, view: &View<'_>, root: &Area<B>, scale: u32) -> Drawn
    where
        B::ErrorType: 'static,
    {
        // an SVG is measured with it too
        register_font(FONT, FontStyle::Normal, FONT_FILE)
            .map_err(|_| "the font that comes along cannot be read")?;
        root.fill(&WHITE)?;
        let canvas = Canvas { root, scale: f64::from(scale) };
        match self {
            Self::Latency => latency(view, &canvas)?,
            Self::AccuracyLatency => accuracy_latency(view, &canvas)?,
        }
        root.present()?;
        Ok(())
    }
}

type Area<B> = DrawingArea<B, Shift>;

/// Where it is drawn: everything is given in pixels of an SVG.
struct Canvas<'a, B: DrawingBackend> {
    root: &'a Area<B>,
    scale: f64,
}

impl<B: DrawingBackend> Canvas<'_, B> {
    fn px(&self, pixels: f64) -> i32 {
        (pixels * self.scale).round() as i32
    }

    fn text(&self, size: f64, color: &RGBColor) -> TextStyle<'static> {
        (FONT, size * self.scale).into_font().color(color)
    }

    fn stroke(&self, color: RGBColor, width: u32) -> ShapeStyle {
        color.stroke_width(self.px(f64::from(width)) as u32)
    }
}

fn write_svg(view: &View<'_>, chart: Chart, out: &mut dyn Write) -> Result<(), RenderError> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, chart.size(view)).into_drawing_area();
    chart.draw(view, &root, 1).map_err(failed(chart))?;
    drop(root);
    out.write_all(svg.as_bytes())?;
    Ok(())
}

fn write_png(view: &View<'_>, chart: Chart, out: &mut dyn Write) -> Result<(), RenderError> {
    let (width, height) = chart.size(view);
    let (width, height) = (width * SHARP, height * SHARP);
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    let root = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
    chart.draw(view, &root, SHARP).map_err(failed(chart))?;
    drop(root);
    super::png::write(out, (width, height), 3, &pixels)
        .map_err(|e| RenderError::Chart { chart: chart.name(), reason: e.to_string() })
}

fn failed(chart: Chart) -> impl FnOnce(Box<dyn std::error::Error>) -> RenderError {
    move |e| RenderError::Chart { chart: chart.name(), reason: e.to_string() }
}

/// One row of the forest plot: name, change and interval in percent.
struct Row {
    name: String,
    change: f64,
    interval: Option<(f64, f64)>,
}

fn rows(view: &View<'_>) -> Vec<Row> {
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let row = |c: &crate::view::ContrastView<'_>| {
        let e = c.ratio("latency_ns")?;
        let interval = Some((percent(e.plain.low), percent(e.plain.high)));
        let interval = interval.filter(|(l, h)| l.is_finite() && h.is_finite());
        let name = format!("{} vs {}", c.candidate, c.reference);
        e.ratio.is_finite().then(|| Row { name, change: percent(e.ratio), interval })
    };
    view.contrasts.iter().filter_map(row).take(MAX_ROWS).collect()
}

/// Forest plot of the change of latency.
fn latency<B: DrawingBackend>(view: &View<'_>, canvas: &Canvas<'_, B>) -> Drawn
where
    B::ErrorType: 'static,
{
    let rows = rows(view);
    if rows.is_empty() {
        return nothing(canvas);
    }
    let margin = view.plan().suite.margin_of("latency_ns") * 100.0;
    let ends = rows.iter().flat_map(|r| {
        // an interval much wider than the change says so by running out of the picture
        let (low, high) = r.interval.unwrap_or((r.change, r.change));
        [r.change, low.max(r.change - 100.0), high.min(r.change + 100.0)]
    });
    let (low, high) = ends.fold((-margin, margin), |(l, h), v| (l.min(v), h.max(v)));
    let pad = (high - low) * 0.05;
    let mut chart = ChartBuilder::on(canvas.root)
        .caption("Change of latency, with 95 % interval", canvas.text(17.0, &BLACK))
        .margin(canvas.px(12.0))
        .x_label_area_size(canvas.px(36.0))
        .y_label_area_size(canvas.px(NAMES))
        .build_cartesian_2d(low - pad..high + pad, 0.0..rows.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(canvas.stroke(BAND, 1))
        .axis_style(canvas.stroke(GREY, 1))
        .x_labels(9)
        .x_label_formatter(&|v| format!("{} %", text::signed(*v, 0)))
        .label_style(canvas.text(13.0, &GREY))
        .draw()?;
    let top = rows.len() as f64;
    chart.draw_series([Rectangle::new([(-margin, 0.0), (margin, top)], BAND.filled())])?;
    chart.draw_series([PathElement::new([(0.0, 0.0), (0.0, top)], canvas.stroke(GREY, 1))])?;
    for (i, row) in rows.iter().enumerate() {
        let y = top - i as f64 - 0.5;
        if let Some((l, h)) = row.interval {
            let inside = |v: f64| v.clamp(low - pad, high + pad);
            let style = canvas.stroke(BLUE, 3);
            chart.draw_series([PathElement::new([(inside(l), y), (inside(h), y)], style)])?;
        }
        chart.draw_series([Circle::new((row.change, y), canvas.px(4.0), BLUE.filled())])?;
        let (_, pixel) = chart.backend_coord(&(row.change, y));
        let style = canvas.text(13.0, &BLACK).pos(Pos::new(HPos::Right, VPos::Center));
        canvas.root.draw(&Text::new(shortened(&row.name), (canvas.px(NAMES), pixel), style))?;
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    const ROOM: usize = 44;
    if name.chars().count() <= ROOM {
        name.to_owned()
    } else {
        name.chars().take(ROOM - 1).chain(['…']).collect()
    }
}

fn nothing<B: DrawingBackend>(canvas: &Canvas<'_, B>) -> Drawn
where
    B::ErrorType: 'static,
{
    let at = (canvas.px(20.0), canvas.px(30.0));
    canvas.root.draw(&Text::new("nothing was measured", at, canvas.text(15.0, &GREY)))?;
    Ok(())
}

/// A case in the scatter plot.
struct Point {
    name: String,
    latency: f64,
    accuracy: (f64, f64, f64),
    onnx: bool,
}

impl Point {
    fn color(&self) -> RGBColor {
        if self.onnx { VERMILLION } else { BLUE }
    }
}

fn points(view: &View<'_>, factor: f64) -> Vec<Point> {
    let point = |case: usize| {
        let (_, summary) = view.case(case)?;
        let score = summary.score?;
        let facts = view.record.facts.get(case)?.as_ref();
        Some(Point {
            name: view.name(case),
            latency: typical(summary)?,
            accuracy: (score.interval.low * factor, score.point * factor, score.interval.high * factor),
            onnx: facts.is_some_and(|f| f.format == protocol::Format::Onnx),
        })
    };
    (0..view.plan().variants().len()).filter_map(point).take(MAX_ROWS).collect()
}

/// The score with its interval against median latency, one point per case.
fn accuracy_latency<B: DrawingBackend>(view: &View<'_>, canvas: &Canvas<'_, B>) -> Drawn
where
    B::ErrorType: 'static,
{
    let metric = view.plan().suite.task.metric();
    let (decimals, factor, symbol) = text::score_scale(metric.unit);
    let points = points(view, factor);
    if points.is_empty() {
        return nothing(canvas);
    }
    let scale = Scale::time(points.iter().map(|p| p.latency));
    let span = |low: f64, high: f64| {
        let pad = ((high - low) * 0.08).max(0.01 * high.abs()).max(1e-6);
        low - pad..high + pad
    };
    let fold = |get: fn(&Point) -> f64, of: fn(f64, f64) -> f64, from| points.iter().map(get).fold(from, of);
    let x = span(
        scale.scaled(fold(|p| p.latency, f64::min, f64::INFINITY)),
        scale.scaled(fold(|p| p.latency, f64::max, 0.0)),
    );
    let y = span(fold(|p| p.accuracy.0, f64::min, f64::INFINITY), fold(|p| p.accuracy.2, f64::max, 0.0));
    let mut chart = ChartBuilder::on(canvas.root)
        .caption(format!("{} against latency", text::capital(metric.short)), canvas.text(17.0, &BLACK))
        .margin(canvas.px(14.0))
        .margin_right(canvas.px(150.0))
        .x_label_area_size(canvas.px(44.0))
        .y_label_area_size(canvas.px(64.0))
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(canvas.stroke(BAND, 1))
        .axis_style(canvas.stroke(GREY, 1))
        .x_desc(format!("latency p50, {}", scale.symbol))
        .y_desc(format!("{}{symbol} (95 % interval)", metric.short))
        .x_label_formatter(&|v| text::number(*v, 0))
        .y_label_formatter(&|v| text::number(*v, decimals))
        .label_style(canvas.text(13.0, &GREY))
        .draw()?;
    let place = |p: &Point| (scale.scaled(p.latency), p.accuracy.1);
    for p in &points {
        let (at, score) = place(p);
        let bar = [(at, p.accuracy.0), (at, p.accuracy.2)];
        chart.draw_series([PathElement::new(bar, canvas.stroke(p.color(), 1))])?;
        chart.draw_series([Circle::new((at, score), canvas.px(5.0), p.color().filled())])?;
    }
    // names are placed in pixels of an SVG, so that both pictures look alike
    let pixel = |p: &Point| {
        let (x, y) = chart.backend_coord(&place(p));
        (f64::from(x) / canvas.scale, f64::from(y) / canvas.scale)
    };
    names(canvas, &points, &pixel)
}

fn names<B: DrawingBackend>(
    canvas: &Canvas<'_, B>,
    points: &[Point],
    pixel: &dyn Fn(&Point) -> (f64, f64),
) -> Drawn
where
    B::ErrorType: 'static,
{
    let width = |p: &Point| shortened(&p.name).chars().count() as f64 * NAME_ADVANCE;
    let wanted: Vec<Wanted> = points.iter().map(|p| Wanted { at: pixel(p), width: width(p) }).collect();
    let bounds = Bounds { left: 80.0, right: f64::from(WIDTH), top: 40.0, bottom: 420.0 };
    for ((label, wanted), p) in labels::place(&wanted, bounds).iter().zip(&wanted).zip(points) {
        let whole = |(x, y): (f64, f64)| (canvas.px(x), canvas.px(y));
        if let Some(end) = label.lead(wanted.at) {
            canvas.root.draw(&PathElement::new([whole(wanted.at), whole(end)], canvas.stroke(GREY, 1)))?;
        }
        let at = whole((label.left, label.y - 6.0));
        canvas.root.draw(&Text::new(shortened(&p.name), at, canvas.text(13.0, &p.color())))?;
    }
    Ok(())
}
