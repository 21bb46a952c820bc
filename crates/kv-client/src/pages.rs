//! A range read to its end, although one answer holds only so much.

use kv_proto::{Range, RangeReply};

use crate::client::{Answer, Client};
use crate::error::Error;

/// The answers to one range, one after the other. All are of one revision, so that together they
/// are the range as it was at one moment. It ends after the last answer or the first error.
///
/// Ranges in another order than ascending keys cannot be continued: they yield one answer.
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a mut Client,
    /// What to ask for next; `None` at the end.
    next: Option<Range>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(client: &'a mut Client, range: Range) -> Self {
        Self { client, next: Some(range) }
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Answer<RangeReply>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut range = self.next.take()?;
        let answer = match self.client.range(&range) {
            Ok(answer) => answer,
            Err(error) => return Some(Err(error)),
        };
        // A next key that does not lie behind this one would make us go round for ever.
        if let Some(next_key) = &answer.reply.next_key
            && answer.reply.more
            && **next_key > *range.key
        {
            range.key = next_key.to_vec();
            range.options.revision.get_or_insert(answer.header.revision);
            self.next = Some(range);
        }
        Some(Ok(answer))
    }
}
