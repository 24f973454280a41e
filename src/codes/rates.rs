//! Attendance rates, computed in integers as the Department for Education counts them.
//!
//! A rate is never rounded before a comparison: 9.948 % is not persistent absence. Without a possible session there is
//! no rate, not 0 %.

use super::attendance::AttendanceClass;

/// Session counts of one child or group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttendanceRates {
    /// Number of possible sessions.
    pub possible: u64,
    /// Possible sessions that were attended.
    pub attended: u64,
    /// Possible sessions that were absences.
    pub absent: u64,
}

impl AttendanceRates {
    /// Adds one session.
    pub fn add(&mut self, class: AttendanceClass) {
        self.possible += u64::from(class.is_possible());
        self.attended += u64::from(class.is_attended());
        self.absent += u64::from(class.is_absent());
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: Self) {
        self.possible += other.possible;
        self.attended += other.attended;
        self.absent += other.absent;
    }

    /// Returns the attendance rate in hundredths of a percent, a half rounded up; `None` when no session was possible.
    #[must_use]
    pub fn attendance_hundredths(&self) -> Option<u64> {
        hundredths(self.attended, self.possible)
    }

    /// Returns the absence rate in hundredths of a percent, a half rounded up; `None` when no session was possible.
    #[must_use]
    pub fn absence_hundredths(&self) -> Option<u64> {
        hundredths(self.absent, self.possible)
    }

    /// Returns whether at least a tenth of the possible sessions were absences.
    #[must_use]
    pub fn is_persistently_absent(&self) -> bool {
        self.possible > 0 && self.absent * 10 >= self.possible
    }

    /// Returns whether at least half of the possible sessions were absences.
    #[must_use]
    pub fn is_severely_absent(&self) -> bool {
        self.possible > 0 && self.absent * 2 >= self.possible
    }
}

impl FromIterator<AttendanceClass> for AttendanceRates {
    fn from_iter<I: IntoIterator<Item = AttendanceClass>>(classes: I) -> Self {
        let mut rates = Self::default();
        classes.into_iter().for_each(|class| rates.add(class));
        rates
    }
}

/// Formats hundredths of a percent: 9005 is `90.05`.
#[must_use]
pub fn percent_text(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn hundredths(part: u64, total: u64) -> Option<u64> {
    (part * 20_000 + total).checked_div(total * 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Date;
    use crate::codes::AttendanceCode;

    const VECTORS: &str = include_str!("../../tests/data/attendance-vectors.csv");

    #[test]
    fn every_vector() {
        let day = Date::parse("2026-11-20").unwrap();
        let mut vectors = csv::Reader::from_reader(VECTORS.as_bytes());
        let mut rows = 0;
        for record in vectors.records() {
            let record = record.unwrap();
            rows += 1;
            let marks = record[1].split(' ').flat_map(|mark| {
                let (code, times) = mark.split_once('*').unwrap_or((mark, "1"));
                std::iter::repeat_n(
                    AttendanceCode::parse_on(code, day).unwrap().class(),
                    times.parse().unwrap(),
                )
            });
            let rates: AttendanceRates = marks.collect();
            assert_eq!(rates.possible.to_string(), record[2], "{}", &record[0]);
            assert_eq!(
                rates.attendance_hundredths().map(percent_text).unwrap_or_default(),
                record[3],
                "{}",
                &record[0]
            );
            assert_eq!(rates.is_persistently_absent(), &record[4] == "yes", "{}", &record[0]);
            assert_eq!(rates.is_severely_absent(), &record[5] == "yes", "{}", &record[0]);
        }
        assert_eq!(rows, VECTORS.lines().count() - 1);
    }
}
