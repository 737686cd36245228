//! What a decision sees: the batch's own effects over the states at the head.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ids::Stream;
use domain::turn::{Claim, Decision, Scene, State};

use crate::cache::Cache;

/// The overlay of one batch. Dropped whole when the commit fails.
pub(crate) struct BatchScene<'a> {
    pub cache: &'a Cache,
    pub states: HashMap<Stream, Arc<State>>,
    /// Claims looked up for this batch.
    pub claims: HashMap<Claim, Option<String>>,
    /// Claims that its commands took.
    pub taken: HashMap<Claim, String>,
}

impl<'a> BatchScene<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Self { cache, states: HashMap::new(), claims: HashMap::new(), taken: HashMap::new() }
    }

    /// Makes an accepted command's effects visible to those after it.
    pub(crate) fn accept(&mut self, decision: &Decision) {
        self.states.extend(decision.states.iter().map(|(stream, state)| (*stream, Arc::clone(state))));
        self.taken.extend(decision.claims.iter().map(|(claim, value)| (claim.clone(), value.clone())));
    }
}

impl Scene for BatchScene<'_> {
    fn state(&self, stream: Stream) -> Option<&Arc<State>> {
        self.states.get(&stream).or_else(|| self.cache.get(stream).map(|known| &known.state))
    }

    fn claim(&self, claim: &Claim) -> Option<Option<&str>> {
        let taken = self.taken.get(claim).map(|value| Some(value.as_str()));
        taken.or_else(|| self.claims.get(claim).map(Option::as_deref))
    }
}
