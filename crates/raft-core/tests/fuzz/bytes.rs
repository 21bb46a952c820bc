//! Bytes as a source of choices: every string of bytes means something, and a small change of the
//! string is a small change of the meaning.

/// What is left to choose with. When it runs out, every choice is the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// One in so many.
    pub(crate) fn seldom(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// A number near `base` more often than not, else one at an end of what there is.
    pub(crate) fn near(&mut self, base: u64) -> u64 {
        match self.byte() {
            byte @ 0..160 => base.saturating_add(u64::from(byte % 4)),
            byte @ 160..230 => base.saturating_sub(u64::from(byte % 8)),
            byte @ 230..245 => u64::from(byte - 230),
            byte => {
                let ends = [
                    u64::MAX,
                    u64::MAX - 1,
                    u64::MAX / 2,
                    u64::MAX / 2 + 1,
                    1 << 63,
                    u64::from(u32::MAX),
                    1 << 32,
                    1 << 44,
                    1 << 20,
                    1000,
                    base.wrapping_mul(2),
                ];
                ends[usize::from(byte - 245)]
            }
        }
    }
}
