//! Numbers in few bytes, and reading them back without trust.

/// Adds `number` in base 128, lowest digits first: seven bits a byte, the eighth says that more
/// follow. At most ten bytes.
pub(crate) fn put_number(number: u64, out: &mut Vec<u8>) {
    let mut rest = number;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Adds bytes after their number.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Takes pieces from the front of some bytes. Every method returns `None` where there is too
/// little; nothing is allocated for a length that was only announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let digit = u64::from(byte & 0x7f);
            if digit > u64::MAX >> shift {
                return None;
            }
            number |= digit << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn number_u32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// As [`put_bytes`] wrote them.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_are_short_when_small() {
        let powers = (0..64).flat_map(|shift| [(1_u64 << shift) - 1, 1 << shift]);
        for number in powers.chain([u64::MAX]) {
            let mut out = Vec::new();
            put_number(number, &mut out);
            let digits = (64 - (number | 1).leading_zeros()).div_ceil(7);
            assert_eq!(out.len(), digits as usize, "{number}");
            let mut cursor = Cursor(&out);
            assert_eq!(cursor.number(), Some(number));
            assert!(cursor.is_empty());
            let mut short = Cursor(&out[..out.len() - 1]);
            assert_eq!(short.number(), None, "{number} cut short");
        }
    }

    #[test]
    fn numbers_above_64_bits_and_lengths_beyond_the_end_are_refused() {
        assert_eq!(Cursor(&[0xff; 11]).number(), None);
        let mut above = vec![0xff; 9];
        above.push(0x02);
        assert_eq!(Cursor(&above).number(), None);
        let mut long = Vec::new();
        put_number(u64::MAX, &mut long);
        assert_eq!(Cursor(&long).bytes(), None);
    }
}
