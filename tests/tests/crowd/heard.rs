//! What a client has heard: each broadcast of its time once, and in order.

use websockets_simple_tests::crowd::Notice;

/// What a client has heard. The broadcasts from the first to the last one are without a gap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// The broadcast before the first one that has to come.
    greeting: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
    is_over: bool,
}

impl Heard {
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeting.is_some()
    }

    /// Notes what has come. An error if it comes twice, or not in order.
    pub(crate) fn note(&mut self, notice: Notice) -> Result<(), String> {
        match notice {
            Notice::Hello(begun) => match self.greeting.replace(begun) {
                None => Ok(()),
                Some(_) => Err("greeted twice".into()),
            },
            Notice::Broadcast { number, .. } => {
                self.first.get_or_insert(number);
                match self.last.replace(number) {
                    Some(last) if last + 1 != number => Err(format!("broadcast {number} behind {last}")),
                    _ => Ok(()),
                }
            }
            Notice::Bye(_) => match std::mem::replace(&mut self.is_over, true) {
                false => Ok(()),
                true => Err("answered twice".into()),
            },
        }
    }

    /// That each broadcast has come, from the first one behind the greeting to `last`.
    pub(crate) fn check(&self, last: u64) -> Result<(), String> {
        let first = self.greeting.ok_or("not greeted")? + 1;
        if last < first {
            return Ok(());
        }
        match (self.first, self.last) {
            (Some(begin), Some(end)) if begin <= first && end >= last => Ok(()),
            (begin, end) => {
                Err(format!("broadcasts {first} to {last} had to come, and {begin:?} to {end:?} did"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(greeting: u64, numbers: &[u64]) -> Result<Heard, String> {
        let mut heard = Heard::default();
        heard.note(Notice::Hello(greeting))?;
        for &number in numbers {
            heard.note(Notice::Broadcast { number, at: 0, is_last: false })?;
        }
        Ok(heard)
    }

    #[test]
    fn a_broadcast_that_is_missing_doubled_or_late_is_found() {
        for wrong in [[3, 5].as_slice(), &[3, 3], &[4, 3]] {
            assert!(heard(2, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_broadcast_that_is_missing_at_either_end_is_found() {
        let check = |greeting, numbers, last| heard(greeting, numbers).unwrap().check(last);
        assert!(check(2, &[3, 4, 5], 5).is_ok());
        assert!(check(2, &[2, 3, 4, 5, 6], 5).is_ok(), "more may come than must");
        assert!(check(2, &[], 2).is_ok());
        assert!(check(2, &[4, 5], 5).is_err());
        assert!(check(2, &[3, 4], 5).is_err());
        assert!(check(2, &[], 3).is_err());
        assert!(Heard::default().check(0).is_err());
    }

    #[test]
    fn a_greeting_comes_once() {
        assert!(heard(2, &[3]).unwrap().note(Notice::Hello(2)).is_err());
        assert!(heard(2, &[3]).unwrap().note(Notice::Bye(3)).is_ok());
    }
}
