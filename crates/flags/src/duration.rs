//! Durations on the command line.

use std::time::Duration;

/// Reads `50ms`, `5s`, `2m`, `1h`, or a bare number of milliseconds.
///
/// # Errors
///
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("write a whole number and a unit, such as 50ms or 5s".to_owned());
    }
    let millis_per_unit = match &text[number.len()..] {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        unit => return Err(format!("there is no unit {unit:?}: use ms, s, m or h")),
    };
    let number = number.parse::<u64>().ok();
    let millis = number.and_then(|number| number.checked_mul(millis_per_unit));
    millis.map(Duration::from_millis).ok_or_else(|| {
        format!("it is longer than can be counted: give at most {}h", u64::MAX / 3_600_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bare_numbers_are_milliseconds() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("50"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("3h"), Ok(Duration::from_hours(3)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration_is_told_what_to_write() {
        for none in ["", "s", "soon", "-1s", "+1s", "1.5s", "5 s", "٣s"] {
            let said = duration(none).expect_err(none);
            assert!(said.contains("such as 50ms or 5s"), "{none}: {said}");
        }
        assert!(duration("5d").expect_err("no unit").contains("\"d\": use ms"));
        for long in ["99999999999999999999s", "18446744073709551615s", "18446744073709551616"] {
            let said = duration(long).expect_err(long);
            assert!(said.contains("give at most 5124095576030h"), "{long}: {said}");
        }
        assert!(duration("5124095576030h").is_ok());
    }
}
