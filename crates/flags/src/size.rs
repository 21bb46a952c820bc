//! Sizes in bytes on the command line.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `1048576`, `1024KiB`, `1MiB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS.iter().find_map(|(name, bits)| Some((text.strip_suffix(name)?, *bits)));
        let (number, bits) = unit.unwrap_or((text, 0));
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << bits));
        bytes.map(Self).ok_or_else(|| "write a number of bytes, or 64KiB, 32MiB, 1GiB".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bits): &&(&str, u32)| self.0 > 0 && self.0.is_multiple_of(1 << bits);
        match UNITS.iter().rev().find(fits) {
            Some((name, bits)) => write!(f, "{}{name}", self.0 >> bits),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_back_as_they_were_written() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("64KiB", 65_536), ("1GiB", 1 << 30)] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
        for wrong in ["", "KiB", "1.5MiB", "3 KiB", "9MB", "-1", "99999999999GiB"] {
            let said = wrong.parse::<Size>().expect_err(wrong);
            assert_eq!(said, "write a number of bytes, or 64KiB, 32MiB, 1GiB", "{wrong}");
        }
    }
}
