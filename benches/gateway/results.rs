//! The results, printed as one table with ratios.

use std::time::Duration;

use ap_gateway::cli::bench::load::Measurement;

/// A row of the table.
pub struct Line {
    /// Calls or commits per second.
    pub calls_per_second: f64,
    marks_per_second: f64,
    p50: u32,
    p99: u32,
    total: u64,
    server_time: Option<Duration>,
}

impl Line {
    /// Builds a row from calls of `marks` marks each.
    pub fn new(measured: &Measurement, marks: usize) -> Self {
        Self {
            calls_per_second: measured.calls_per_second(),
            marks_per_second: measured.calls_per_second() * marks as f64,
            p50: measured.latency_quantile(500),
            p99: measured.latency_quantile(990),
            total: measured.calls,
            server_time: None,
        }
    }

    /// Adds the processor time of the server for all calls.
    pub fn server_time(self, used: Duration) -> Self {
        Self { server_time: Some(used), ..self }
    }
}

/// The rows in the order of measurement.
#[derive(Default)]
pub struct Table {
    lines: Vec<(String, Line)>,
    notes: Vec<String>,
}

impl Table {
    pub fn add(&mut self, what: &str, line: Line) {
        println!(
            "measured: {what}: {:.0} calls/s, p50 {} µs, p99 {} µs",
            line.calls_per_second, line.p50, line.p99
        );
        self.lines.push((what.to_owned(), line));
    }

    /// Adds a result that is not a load.
    pub fn add_note(&mut self, text: String) {
        println!("measured: {text}");
        self.notes.push(text);
    }

    /// Adds the ratios of a rate to others.
    pub fn add_ratios(&mut self, what: &str, rate: f64, to: &[(&str, f64)]) {
        let ratios: Vec<_> = to.iter().map(|(name, other)| format!("{:.2} × {name}", rate / other)).collect();
        self.add_note(format!("{what}: {}", ratios.join(", ")));
    }

    /// Prints the table, with the ratio of each rate to `base`.
    pub fn print(&self, base: f64) {
        println!("\n| what | calls/s | marks/s | ratio | p50 ms | p99 ms | server µs a call |");
        println!("|---|---|---|---|---|---|---|");
        for (what, line) in &self.lines {
            let used = line.server_time.map_or_else(String::new, |used| {
                (used.as_micros() / u128::from(line.total.max(1))).to_string()
            });
            println!(
                "| {what} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {used} |",
                line.calls_per_second,
                line.marks_per_second,
                line.calls_per_second / base,
                f64::from(line.p50) / 1000.0,
                f64::from(line.p99) / 1000.0,
            );
        }
        println!();
        for note in &self.notes {
            println!("- {note}");
        }
    }
}
