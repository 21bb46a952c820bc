//! Whole numbers on the command line.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What reads a whole number of this range, in the shape in which `clap` takes it:
/// `value_parser = whole(1_u32..=64)`. Its errors say what to write instead.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!("write a whole number from {} to {}", range.start(), range.end())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_range_are_read() {
        let read = whole(1_u16..=9);
        assert_eq!(read("1"), Ok(1));
        assert_eq!(read("9"), Ok(9));
        assert_eq!(whole(0..=u64::MAX)("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn whatever_else_there_is_gets_the_bounds() {
        let read = whole(1_u16..=9);
        for wrong in ["", "0", "10", "-1", "1.5", "1k", "9MiB", "65536", "99999999999999999999"] {
            let said = read(wrong);
            assert_eq!(said, Err("write a whole number from 1 to 9".to_owned()), "{wrong}");
        }
    }
}
