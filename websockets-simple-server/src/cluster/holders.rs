//! How many connections each node has of something.

/// The place of a node in the view. That of this node itself is [`OWN`].
pub(crate) type Place = u32;

/// The place of this node itself.
pub(crate) const OWN: Place = 0;

/// How many connections each node has of a user or channel. Most are at one node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Holders {
    One((Place, u32)),
    Many(Vec<(Place, u32)>),
}

impl Default for Holders {
    fn default() -> Self {
        Self::One((OWN, 0))
    }
}

impl Holders {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, u32)> + '_ {
        let all = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        };
        all.iter().copied().filter(|(_, count)| *count > 0)
    }

    pub(crate) fn of(&self, node: Place) -> u32 {
        self.iter().find(|(place, _)| *place == node).map_or(0, |(_, count)| count)
    }

    pub(crate) fn total(&self) -> u64 {
        self.iter().map(|(_, count)| u64::from(count)).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(crate) fn set(&mut self, node: Place, count: u32) {
        match self {
            Self::One((place, held)) if *place == node || *held == 0 => *self = Self::One((node, count)),
            Self::One(_) if count == 0 => {}
            Self::One(one) => *self = Self::Many(vec![*one, (node, count)]),
            Self::Many(all) => {
                all.retain(|(place, _)| *place != node);
                if count > 0 {
                    all.push((node, count));
                }
                if let [one] = **all {
                    *self = Self::One(one);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holders_are_a_map_of_counts(sets in prop::collection::vec((0_u32..4, 0_u32..3), 0..40)) {
            let (mut holders, mut model) = (Holders::default(), BTreeMap::new());
            for (node, count) in sets {
                holders.set(node, count);
                if count > 0 { model.insert(node, count) } else { model.remove(&node) };
                let mut all: Vec<_> = holders.iter().collect();
                all.sort_unstable();
                prop_assert_eq!(&all, &model.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(holders.total(), model.values().map(|count| u64::from(*count)).sum::<u64>());
                prop_assert_eq!(holders.is_empty(), model.is_empty());
                prop_assert_eq!(holders.of(2), model.get(&2).copied().unwrap_or(0));
                if model.len() < 2 {
                    prop_assert!(matches!(holders, Holders::One(..)), "no memory of its own");
                }
            }
        }
    }
}
