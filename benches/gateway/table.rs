//! What was measured, printed as one table with ratios.

use std::time::Duration;

use ap_gateway::cli::bench::load::Measured;

/// A figure of the table.
pub struct Line {
    /// Calls or commits a second.
    pub calls: f64,
    marks: f64,
    p50: u32,
    p99: u32,
    total: u64,
    used: Option<Duration>,
}

impl Line {
    /// From calls of so many marks each.
    pub fn of(measured: &Measured, marks: usize) -> Self {
        Self {
            calls: measured.rate(),
            marks: measured.rate() * marks as f64,
            p50: measured.quantile(500),
            p99: measured.quantile(990),
            total: measured.calls,
            used: None,
        }
    }

    /// With the processor time that the server used for all of them.
    pub fn used(self, used: Duration) -> Self {
        Self { used: Some(used), ..self }
    }
}

/// Rows in the order in which they were measured.
#[derive(Default)]
pub struct Table {
    lines: Vec<(String, Line)>,
    notes: Vec<String>,
}

impl Table {
    pub fn add(&mut self, what: &str, line: Line) {
        println!("measured: {what}: {:.0} calls/s, p50 {} µs, p99 {} µs", line.calls, line.p50, line.p99);
        self.lines.push((what.to_owned(), line));
    }

    /// A figure that is no load.
    pub fn note(&mut self, text: String) {
        println!("measured: {text}");
        self.notes.push(text);
    }

    /// A rate beside those that it is compared with.
    pub fn ratios(&mut self, what: &str, rate: f64, to: &[(&str, f64)]) {
        let ratios: Vec<_> = to.iter().map(|(name, other)| format!("{:.2} × {name}", rate / other)).collect();
        self.note(format!("{what}: {}", ratios.join(", ")));
    }

    /// Prints all of it, with the ratio of each rate to this one.
    pub fn print(&self, base: f64) {
        println!("\n| what | calls/s | marks/s | ratio | p50 ms | p99 ms | server µs a call |");
        println!("|---|---|---|---|---|---|---|");
        for (what, line) in &self.lines {
            let used = line.used.map_or_else(String::new, |used| {
                (used.as_micros() / u128::from(line.total.max(1))).to_string()
            });
            println!(
                "| {what} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {used} |",
                line.calls,
                line.marks,
                line.calls / base,
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
