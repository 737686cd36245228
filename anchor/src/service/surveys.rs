//! What the service does to know that everything is still there: looks through its store at start, once a day, and when asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Service;
use crate::AnchorError;
use crate::publisher::approximate;
use crate::survey::{self, Scope, Survey};

/// After a survey that did not come to its end.
const AGAIN: Duration = Duration::from_secs(60);

impl Service {
    /// Surveys the store once this is the place that publishes, and then every day, until `stop` turns true. In nobody's way.
    pub async fn survey_store(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            if self.seat.lock().await.is_none() {
                wait = self.config.checkpoint_every;
                continue;
            }
            let surveyed = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                surveyed = self.survey(false) => surveyed,
            };
            wait = match surveyed {
                Ok(_) => self.config.prove_every,
                Err(error) => {
                    tracing::warn!(%error, "the anchor store could not be looked through");
                    AGAIN.min(self.config.prove_every)
                }
            };
        }
    }

    /// Looks for everything that was anchored, and with `read` at every byte of it.
    pub async fn survey(&self, read: bool) -> Result<Survey, AnchorError> {
        let scope = Scope { read, brought: None };
        let at = (self.config.clock)();
        let survey = survey::survey(&self.log, &self.keys, self.store.as_ref(), scope, at).await?;
        metrics::gauge!("guildhall_anchor_missing").set(approximate(survey.missing.count));
        let was = self.survey.send_replace(Some(survey.clone())).unwrap_or_default();
        for missing in survey.missing.first.iter().filter(|missing| !was.missing.first.contains(missing)) {
            tracing::error!(%missing, alarm = true, "the anchor store lost what was anchored");
        }
        self.alarm_about(&was.strays.first, &survey.strays.first);
        self.count_strays();
        Ok(survey)
    }

    /// Keeps what was found beside or above the anchors; what is new is an alarm. It takes nothing away, and stops nothing.
    pub(super) fn note_strays(&self, place: &watch::Sender<Vec<String>>, strays: Vec<String>) {
        let was = place.send_replace(strays.clone());
        self.alarm_about(&was, &strays);
        self.count_strays();
    }

    fn alarm_about(&self, known: &[String], strays: &[String]) {
        for stray in strays.iter().filter(|stray| !known.contains(stray)) {
            tracing::error!(%stray, alarm = true, "somebody touched an anchor");
        }
    }

    fn count_strays(&self) {
        let more =
            self.survey.borrow().as_ref().map_or(0, |survey| survey.strays.count - survey.strays.first.len() as u64);
        metrics::gauge!("guildhall_anchor_strays").set(approximate(self.strays().len() as u64 + more));
    }

    /// Everything that lies in the store and was not put there for this log, by name.
    pub(super) fn strays(&self) -> Vec<String> {
        let mut strays = [self.beside.borrow().clone(), self.above.borrow().clone()].concat();
        strays.extend(self.survey.borrow().iter().flat_map(|survey| survey.strays.first.clone()));
        strays.sort_unstable();
        strays.dedup();
        strays
    }
}
