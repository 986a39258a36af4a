//! A plot of the resident memory over time.

use std::fmt::Write as _;

use crate::sample::Sample;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 36.0;
/// Told apart by those who don't see all colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// An SVG with a line for each name.
pub fn svg(lines: &[(&str, &[Sample])]) -> String {
    let samples = || lines.iter().flat_map(|(_, samples)| samples.iter());
    let seconds_max = samples().map(|sample| sample.at.as_secs_f64()).fold(1.0, f64::max);
    let highest = samples().map(|sample| sample.resident as f64 / 1e6).fold(1.0, f64::max);
    let step = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0].into_iter().find(|step| highest / step <= 8.0);
    let step = step.unwrap_or(1_000.0);
    let mb_max = (highest / step).ceil() * step;
    let x = |seconds: f64| LEFT + seconds / seconds_max * (WIDTH - LEFT - RIGHT);
    let y = |mb: f64| HEIGHT - BOTTOM - mb / mb_max * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    let mut put = |line: String| writeln!(text, "{line}").expect("a text takes what is written");
    for number in 0..=(mb_max / step).round() as u64 {
        let mb = number as f64 * step;
        let at = y(mb);
        put(format!("<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>", WIDTH - RIGHT));
        put(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mb}</text>", LEFT - 6.0, at + 4.0));
    }
    for minute in 0..=(seconds_max / 60.0) as u64 {
        let at = x(minute as f64 * 60.0);
        put(format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{minute}</text>", HEIGHT - 20.0));
    }
    put(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">minutes under load; resident memory in MB</text>",
        WIDTH / 2.0,
        HEIGHT - 4.0
    ));
    for (number, (name, samples)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let points: Vec<String> = samples
            .iter()
            .map(|sample| format!("{:.1},{:.1}", x(sample.at.as_secs_f64()), y(sample.resident as f64 / 1e6)))
            .collect();
        put(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        ));
        let at = TOP + 14.0 + number as f64 * 16.0;
        put(format!("<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{name}</text>", LEFT + 10.0));
    }
    text + "</svg>\n"
}
