//! Converts the local times of a log to instants.
//!
//! Input: dates and times of day, in the order of a file. Output: milliseconds since the epoch. A
//! leap second is accepted only where UTC has one. A clock that was set back keeps the order of the
//! lines. A file that passes midnight without a new date is a day later from there on.

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// A step back by this many hours is midnight; a smaller one is a clock that was set back.
const MIDNIGHT_HOURS: i64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeOfDay {
    time: Time,
    /// Whether the second is 60.
    leap: bool,
}

impl TimeOfDay {
    /// `HH:MM` or `HH:MM:SS`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The library accepts more forms, such as 1059 and 10:59:01.5.
        let has_form = matches!(text.len(), 5 | 8)
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
        let time = has_form.then(|| text.parse().ok()).flatten()?;
        Some(Self { time, leap: text.ends_with(":60") })
    }

    pub(super) fn on(self, date: Date) -> DateTime {
        date.to_datetime(self.time)
    }
}

pub(super) struct Clock {
    zone: TimeZone,
    last: Option<DateTime>,
    /// How many midnights passed without a new date in the file.
    midnights: i64,
    /// Whether this is the second pass through the hour that occurs twice when a clock is set back.
    second_pass: bool,
}

impl Clock {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, last: None, midnights: 0, second_pass: false }
    }

    pub(super) fn reset(&mut self) {
        self.midnights = 0;
        self.last = None;
    }

    /// The instant of a time on the date that the file has named last.
    pub(super) fn instant(&mut self, date: Date, time: TimeOfDay) -> Result<u64, String> {
        let early = || "its time is out of range".to_owned();
        let days = |midnights: i64| date.checked_add(midnights.days()).map_err(|_| early());
        let mut at = days(self.midnights)?.to_datetime(time.time);
        let back = self.last.map_or(0, |last| at.duration_until(last).as_hours());
        if back >= MIDNIGHT_HOURS {
            self.midnights += 1;
            at = days(self.midnights)?.to_datetime(time.time);
        }
        let set_back = self.last.is_some_and(|last| at < last);
        self.last = Some(at);
        let choices = self.zone.to_ambiguous_zoned(at);
        self.second_pass = choices.is_ambiguous() && (self.second_pass || set_back);
        // `compatible` shifts a time that a clock skipped by the length of the gap.
        let zoned = if self.second_pass
            && matches!(choices.offset(), jiff::tz::AmbiguousOffset::Fold { .. })
        {
            choices.later()
        } else {
            choices.compatible()
        };
        let instant = zoned.map_err(|_| early())?.timestamp();
        let ms = u64::try_from(instant.as_millisecond()).map_err(|_| "its time is before 1970")?;
        if time.leap && ms % DAY_MS != DAY_MS - 1_000 {
            return Err("its second is 60, but there was no leap second (see --timezone)".into());
        }
        Ok(ms)
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn instants(zone: &str, date: &str, times: &[&str]) -> Vec<Result<String, String>> {
        let mut clock = Clock::new(TimeZone::get(zone).expect("a zone"));
        let date = date.parse().expect("a date");
        let instant = |time: &&str| {
            let ms = clock.instant(date, TimeOfDay::parse(time).expect("a time"))?;
            let ms = i64::try_from(ms).expect("small");
            Ok(jiff::Timestamp::from_millisecond(ms).expect("a time").to_string())
        };
        times.iter().map(instant).collect()
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_the_order() {
        let times =
            instants("Europe/Berlin", "2020-10-25", &["02:10", "02:50", "02:10", "02:50", "03:00"]);
        let expected = ["00:10", "00:50", "01:10", "01:50", "02:00"];
        for (time, expected) in times.iter().zip(expected) {
            assert_eq!(time, &Ok(format!("2020-10-25T{expected}:00Z")));
        }
    }

    #[test]
    fn a_skipped_time_is_shifted_by_the_gap() {
        let times = instants("Europe/Berlin", "2020-03-29", &["01:59", "02:30", "03:30"]);
        let expected = ["00:59", "01:30", "01:30"];
        for (time, expected) in times.iter().zip(expected) {
            assert_eq!(time, &Ok(format!("2020-03-29T{expected}:00Z")));
        }
    }

    #[test]
    fn a_file_that_passes_midnight_is_a_day_later() {
        let times = instants("UTC", "2020-03-08", &["23:59", "00:01", "00:00", "12:30", "00:29"]);
        let expected = ["08T23:59", "09T00:01", "09T00:00", "09T12:30", "10T00:29"];
        for (time, expected) in times.iter().zip(expected) {
            assert_eq!(time, &Ok(format!("2020-03-{expected}:00Z")));
        }
    }

    #[test]
    fn a_leap_second_is_accepted_where_utc_has_it() {
        let at = |zone, time| instants(zone, "2016-12-31", &[time]).remove(0);
        assert_eq!(at("UTC", "23:59:60"), Ok("2016-12-31T23:59:59Z".into()));
        assert!(at("UTC", "10:59:60").is_err());
        assert_eq!(at("America/New_York", "18:59:60"), Ok("2016-12-31T23:59:59Z".into()));
    }
}
