//! Attendance figures as the Department for Education counts them, in whole numbers.
//!
//! A rate is never rounded before it is compared: 9.948 % is not persistent absence. Nothing possible is no rate,
//! not 0 %.

use super::attendance::AttendanceClass;

/// Sessions counted for one child or group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Sessions that could have been attended.
    pub possible: u64,
    /// Of those, attended.
    pub attended: u64,
    /// Of those, absent.
    pub absent: u64,
}

impl Rates {
    /// Counts one session more.
    pub fn add(&mut self, class: AttendanceClass) {
        self.possible += u64::from(class.is_possible());
        self.attended += u64::from(class.is_attended());
        self.absent += u64::from(class.is_absent());
    }

    /// Counts `other` in.
    pub fn add_all(&mut self, other: Self) {
        self.possible += other.possible;
        self.attended += other.attended;
        self.absent += other.absent;
    }

    /// Attendance in hundredths of a percent, a half rounded up; none when nothing was possible.
    #[must_use]
    pub fn attendance(&self) -> Option<u64> {
        hundredths(self.attended, self.possible)
    }

    /// Absence in hundredths of a percent, a half rounded up; none when nothing was possible.
    #[must_use]
    pub fn absence(&self) -> Option<u64> {
        hundredths(self.absent, self.possible)
    }

    /// Absent for a tenth or more of what was possible.
    #[must_use]
    pub fn persistently_absent(&self) -> bool {
        self.possible > 0 && self.absent * 10 >= self.possible
    }

    /// Absent for a half or more of what was possible.
    #[must_use]
    pub fn severely_absent(&self) -> bool {
        self.possible > 0 && self.absent * 2 >= self.possible
    }
}

impl FromIterator<AttendanceClass> for Rates {
    fn from_iter<I: IntoIterator<Item = AttendanceClass>>(classes: I) -> Self {
        let mut rates = Self::default();
        classes.into_iter().for_each(|class| rates.add(class));
        rates
    }
}

/// Hundredths of a percent as text: 9005 is `90.05`.
#[must_use]
pub fn percent_text(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn hundredths(part: u64, whole: u64) -> Option<u64> {
    (part * 20_000 + whole).checked_div(whole * 2)
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
                std::iter::repeat_n(AttendanceCode::on(code, day).unwrap().class(), times.parse().unwrap())
            });
            let rates: Rates = marks.collect();
            assert_eq!(rates.possible.to_string(), record[2], "{}", &record[0]);
            assert_eq!(rates.attendance().map(percent_text).unwrap_or_default(), record[3], "{}", &record[0]);
            assert_eq!(rates.persistently_absent(), &record[4] == "yes", "{}", &record[0]);
            assert_eq!(rates.severely_absent(), &record[5] == "yes", "{}", &record[0]);
        }
        assert_eq!(rows, VECTORS.lines().count() - 1);
    }
}
