//! Draws what scripts/bench.sh has measured: reads target/bench/*.json, writes docs/performance/*.svg.
//!
//!     plot FROM TO      the two folders

use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Deserialize;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What one benchmark wrote.
#[derive(Deserialize)]
struct Figures {
    name: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    label: String,
    throughput: Option<f64>,
    p99_ms: Option<f64>,
    ratio: Option<f64>,
    unit: String,
    aim: Option<f64>,
    direction: Option<String>,
    reached: Option<bool>,
    /// Of writes.
    system: Option<String>,
    r#where: Option<String>,
    connections: Option<f64>,
    /// Of growth.
    series: Option<String>,
    size: Option<f64>,
}

/// One line of a plot.
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
}

const INK: RGBColor = RGBColor(31, 35, 40);
const PAPER: RGBColor = RGBColor(255, 255, 255);
const FAINT: RGBColor = RGBColor(208, 215, 222);
const REACHED: RGBColor = RGBColor(26, 127, 55);
const MISSED: RGBColor = RGBColor(207, 34, 46);
const LINES: [RGBColor; 4] =
    [RGBColor(9, 105, 218), RGBColor(130, 80, 223), RGBColor(191, 135, 0), RGBColor(150, 110, 80)];

/// Ink and paper change together, so that a plot can be read wherever it is shown.
const DARK: &str = "<style>text{font-family:sans-serif}@media(prefers-color-scheme:dark){\
[fill=\"#FFFFFF\"]{fill:#0D1117}\
[fill=\"#1F2328\"]{fill:#E6EDF3}[stroke=\"#1F2328\"]{stroke:#E6EDF3}[stroke=\"#D0D7DE\"]{stroke:#3D444D}\
[fill=\"#1A7F37\"]{fill:#3FB950}[fill=\"#CF222E\"]{fill:#F85149}[stroke=\"#0969DA\"]{stroke:#58A6FF}\
[fill=\"#0969DA\"]{fill:#58A6FF}[stroke=\"#8250DF\"]{stroke:#BC8CFF}[fill=\"#8250DF\"]{fill:#BC8CFF}}</style>";

const WIDTH: u32 = 860;
const ROW: u32 = 17;
/// The least and the most that a bar shows, as powers of ten.
const LEAST: f64 = 0.02;
const MOST: f64 = 1.0;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let from = arguments.next().ok_or("no folder to read from")?;
    let to = arguments.next().ok_or("no folder to write to")?;
    let mut all = Vec::new();
    for entry in fs::read_dir(&from)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") {
            all.push(serde_json::from_str::<Figures>(&fs::read_to_string(path)?)?);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    fs::create_dir_all(&to)?;
    let to = Path::new(&to);
    aims(&all, &to.join("aims.svg"))?;
    let named = |name: &str| all.iter().find(|figures| figures.name == name);
    if let Some(writes) = named("writes") {
        let lines = lines(writes, |row| {
            let label = format!("{}, {}", row.system.as_deref()?, row.r#where.as_deref()?);
            Some((label, (row.connections?, row.throughput?)))
        });
        curves("Replicated writes a second", "connections", &lines, &to.join("writes.svg"))?;
    }
    if let Some(growth) = named("growth") {
        let lines = lines(growth, |row| Some((row.series.clone()?, (row.size?, row.p99_ms?))));
        curves("p99 in ms", "users", &lines, &to.join("growth.svg"))?;
    }
    Ok(())
}

/// The points of all rows that have one, in lines by their labels.
fn lines(figures: &Figures, point: impl Fn(&Row) -> Option<(String, (f64, f64))>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (label, at) in figures.rows.iter().filter_map(point) {
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => line.points.push(at),
            None => lines.push(Line { label, points: vec![at] }),
        }
    }
    lines
}

/// A bar for each figure that has an aim: to the right of the line what is better than it, to the left what is worse.
fn aims(all: &[Figures], file: &Path) -> Outcome {
    let rows: Vec<(&str, &Row, f64)> = all
        .iter()
        .flat_map(|figures| figures.rows.iter().map(move |row| (figures.name.as_str(), row)))
        .filter_map(|(name, row)| Some((name, row, better(row)?)))
        .collect();
    let count = u32::try_from(rows.len())?;
    draw(file, (WIDTH, ROW * (count + 3)), |area| {
        let mut chart =
            ChartBuilder::on(&area).margin(6).build_cartesian_2d(-4.6..2.6, 0.0..f64::from(count) + 2.0)?;
        let top = f64::from(count) + 1.0;
        for (at, label) in [(-MOST, "10 times worse"), (0.0, "aim"), (MOST, "10 times better")] {
            let ink = if at == 0.0 { INK } else { FAINT };
            chart.draw_series([PathElement::new([(at, 0.0), (at, top - 0.2)], ink)])?;
            chart.draw_series([text(label, (at - 0.1, top + 0.6))])?;
        }
        for (number, (name, row, better)) in (1_u32..).zip(&rows) {
            let y = top - f64::from(number);
            let label = format!("{name}: {}", row.label.trim());
            chart.draw_series([text(label, (-4.6, y + 0.75))])?;
            // What is at its aim is to be seen too.
            let (colour, end) = if row.reached == Some(true) {
                (REACHED, better.log10().clamp(LEAST, MOST))
            } else {
                (MISSED, better.log10().clamp(-MOST, -LEAST))
            };
            chart.draw_series([Rectangle::new([(0.0, y + 0.15), (end, y + 0.75)], colour.filled())])?;
            chart.draw_series([text(figure(row), (1.15, y + 0.75))])?;
        }
        Ok(())
    })
}

fn text(what: impl Into<String>, at: (f64, f64)) -> Text<'static, (f64, f64), String> {
    Text::new(what.into(), at, ("sans-serif", 12).into_font().color(&INK))
}

/// How many times as good as the aim: at least a thousandth, where the figure is nothing.
fn better(row: &Row) -> Option<f64> {
    let (figure, aim) = (row.ratio?, row.aim?);
    if row.direction.as_deref()? == ">=" {
        return Some((figure / aim).max(0.001));
    }
    // Where nothing is the aim, it is reached or it is not.
    Some(if figure <= 0.0 { if aim > 0.0 { 1000.0 } else { 1.0 } } else { (aim / figure).max(0.001) })
}

fn figure(row: &Row) -> String {
    let short = |value: Option<f64>| value.map_or_else(String::new, short);
    let direction = row.direction.as_deref().unwrap_or("");
    format!("{} {} ({direction} {})", short(row.ratio), row.unit, short(row.aim))
}

/// Three digits or so.
fn short(value: f64) -> String {
    let digits = if value >= 100.0 || value.fract() == 0.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// Lines over a logarithmic scale both ways.
fn curves(title: &str, across: &str, lines: &[Line], file: &Path) -> Outcome {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    if points().count() < 2 {
        return Ok(());
    }
    let x = (least(|at| at.0) * 0.9..most(|at| at.0) * 1.1).log_scale();
    // Room for what the lines are called.
    let y = (least(|at| at.1) * 0.4..most(|at| at.1) * 1.4).log_scale();
    draw(file, (640, 380), |area| {
        let font = || ("sans-serif", 13).into_font().color(&INK);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .caption(title, ("sans-serif", 15).into_font().color(&INK))
            .x_label_area_size(42)
            .y_label_area_size(60)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(across)
            .axis_style(INK)
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .label_style(font())
            .axis_desc_style(font())
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for (line, colour) in lines.iter().zip(LINES.iter().cycle()) {
            let points = || line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
            chart.draw_series(points().map(|at| Circle::new(at, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(font())
            .background_style(PAPER)
            .border_style(FAINT)
            .draw()?;
        Ok(())
    })
}

/// Draws into a file, and takes out what each element says that is said once in its head.
fn draw(file: &Path, size: (u32, u32), what: impl FnOnce(Area<'_>) -> Outcome) -> Outcome {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&PAPER)?;
        what(area.clone())?;
        area.present()?;
    }
    for said in [" opacity=\"1\"", " stroke=\"none\"", " font-family=\"sans-serif\"", " stroke-width=\"1\""] {
        svg = svg.replace(said, "");
    }
    let head = svg.find('>').ok_or("no SVG")?;
    svg.insert_str(head + 1, DARK);
    fs::write(file, svg)?;
    println!("{}", file.display());
    Ok(())
}
