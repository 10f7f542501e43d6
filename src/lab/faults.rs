//! Faults in the network of a running lab: cuts, losses, delays, pulled cables.

use std::time::Duration;

use super::LabError;
use super::control::LinkDirection;
use super::serve::LabServer;
use super::switch::PathConditions;

impl LabServer {
    /// All disturbed paths: (segment, from, to, how).
    pub(super) fn faults(&self) -> Vec<(String, String, String, String)> {
        let mut faults = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            for from in &self.hosts {
                for to in &self.hosts {
                    let path_conditions = self.switch.conditions(number, from.number, to.number);
                    if path_conditions != PathConditions::default() {
                        let (from, to) = (from.plan.name.clone(), to.plan.name.clone());
                        faults.push((segment.clone(), from, to, path_conditions.to_string()));
                    }
                }
            }
        }
        faults
    }

    /// The segments with this name or with an interface of this name; all if there is no name.
    fn segments_of(&self, link: Option<&str>) -> Result<Vec<usize>, LabError> {
        let Some(link) = link else {
            return Ok((0..self.segments.len()).collect());
        };
        let cards = || {
            self.hosts
                .iter()
                .filter(|h| h.plan.config.is_some())
                .flat_map(|h| &h.plan.interfaces)
        };
        let meant: Vec<usize> = (0..)
            .zip(&self.segments)
            .filter(|(_, s)| *s == link || cards().any(|c| c.name == link && c.segment == **s))
            .map(|(number, _)| number)
            .collect();
        if meant.is_empty() {
            return Err(LabError::Refused(format!(
                "there is no interface or segment {link}; segments are: {}",
                self.segments.join(", ")
            )));
        }
        Ok(meant)
    }

    /// The numbers of one host, or of all.
    fn numbers(&self, name: Option<&str>) -> Result<Vec<usize>, LabError> {
        match name {
            Some(name) => Ok(vec![self.host(name)?.number]),
            None => Ok(self.hosts.iter().map(|h| h.number).collect()),
        }
    }

    /// Cuts one host from another, or from all.
    pub(super) fn cut(
        &self,
        a: &str,
        b: Option<&str>,
        link: Option<&str>,
        oneway: bool,
    ) -> Result<(), LabError> {
        let way = if oneway {
            LinkDirection::Out
        } else {
            LinkDirection::Both
        };
        let cut = |path_conditions: &mut PathConditions| path_conditions.cut = true;
        for segment in self.segments_of(link)? {
            self.change_paths(
                segment,
                &self.numbers(Some(a))?,
                &self.numbers(b)?,
                way,
                cut,
            );
        }
        Ok(())
    }

    /// Ends cuts and losses between two hosts, of one with all, or all.
    pub(super) fn heal(&self, a: Option<&str>, b: Option<&str>) -> Result<(), LabError> {
        let (a, b) = (self.numbers(a)?, self.numbers(b)?);
        for segment in 0..self.segments.len() {
            self.change_paths(segment, &a, &b, LinkDirection::Both, |path_conditions| {
                *path_conditions = PathConditions::default();
            });
        }
        Ok(())
    }

    /// Loses this percentage of frames between two hosts, or everywhere.
    pub(super) fn lose(
        &self,
        percent: u8,
        link: Option<&str>,
        between: Option<(String, String)>,
    ) -> Result<(), LabError> {
        let (a, b) = between.unzip();
        let (a, b) = (self.numbers(a.as_deref())?, self.numbers(b.as_deref())?);
        for segment in self.segments_of(link)? {
            self.change_paths(segment, &a, &b, LinkDirection::Both, |path_conditions| {
                path_conditions.loss = percent.min(100);
            });
        }
        Ok(())
    }

    /// Delays frames between two hosts on all links, and doubles some.
    pub(super) fn delay(
        &self,
        a: &str,
        b: &str,
        most: Duration,
        twice: u8,
    ) -> Result<(), LabError> {
        let (a, b) = (self.numbers(Some(a))?, self.numbers(Some(b))?);
        for segment in 0..self.segments.len() {
            self.change_paths(segment, &a, &b, LinkDirection::Both, |path_conditions| {
                (path_conditions.delay, path_conditions.twice) = (most, twice.min(100));
            });
        }
        Ok(())
    }

    fn change_paths(
        &self,
        segment: usize,
        a: &[usize],
        b: &[usize],
        way: LinkDirection,
        change: impl Fn(&mut PathConditions),
    ) {
        for a in a {
            for b in b.iter().filter(|b| *b != a) {
                self.switch.change_path(segment, *a, *b, &change);
                if way == LinkDirection::Both {
                    self.switch.change_path(segment, *b, *a, &change);
                }
            }
        }
    }

    /// Plugs or unplugs a host's card, or all.
    pub(super) fn set_carrier(
        &self,
        host: &str,
        link: Option<&str>,
        on: bool,
    ) -> Result<(), LabError> {
        let running = self.host(host)?.on()?;
        let meant: Vec<_> = running
            .ports
            .iter()
            .filter(|(name, _)| link.is_none_or(|l| l == name))
            .collect();
        if meant.is_empty() {
            return Err(LabError::Refused(format!(
                "{host} has no interface {}",
                link.unwrap_or("at all")
            )));
        }
        meant
            .iter()
            .try_for_each(|(_, port)| self.switch.set_carrier(*port, on))
    }
}
