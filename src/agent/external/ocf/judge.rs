//! Compares the parameters of a word with those that its agent knows.

use super::metadata::MetaData;
use super::notation::{Given, Plan};
use crate::text::Mistake;
use crate::text::nearest;

/// Parameters that every agent of the package takes although its meta-data does not list them.
const COMMON: [&str; 3] = ["OCF_CHECK_LEVEL", "trace_ra", "trace_file"];
/// How many names a message lists if none is similar to the written one.
const MAX_LISTED: usize = 12;

/// Reports the first parameter that is unknown, given twice, or missing.
pub fn check_parameters(plan: &Plan, meta: &MetaData) -> Result<(), Mistake> {
    for (nth, given) in plan.given.iter().enumerate() {
        if meta.parameter(&given.name).is_none() && !COMMON.contains(&given.name.as_str()) {
            return Err(unknown(given, plan, meta));
        }
        let before = plan.given.iter().take(nth);
        if let Some(first) = before.into_iter().find(|g| g.name == given.name)
            && (first.at.is_some() || given.at.is_none())
        {
            let message = format!("the parameter `{}` is given twice", given.name);
            return Err(Mistake::new(message).at(given.at));
        }
    }
    let given = |name: &str| plan.given.iter().any(|g| g.name == name);
    let missing: Vec<&str> = meta
        .parameters
        .iter()
        .filter(|p| p.required && p.default.is_none() && !given(&p.name))
        .map(|p| p.name.as_str())
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let Plan { provider, kind, .. } = plan;
    let message = format!("{kind} needs the parameter `{}`", missing.join("` and `"));
    Err(Mistake::new(message).help(format!(
        "write ocf:{provider}:{kind}::{first}=...; `hactl agent show ocf:{provider}:{kind}` shows all"
    )))
}

fn unknown(given: &Given, plan: &Plan, meta: &MetaData) -> Mistake {
    let Plan { provider, kind, .. } = plan;
    let message = format!("{kind} has no parameter `{}`", given.name);
    let names = || meta.parameters.iter().map(|p| p.name.as_str());
    let help = if let Some(near) = nearest(&given.name, names()) {
        format!("did you mean `{near}`?")
    } else if meta.parameters.len() <= MAX_LISTED {
        format!(
            "its parameters are {}",
            names().collect::<Vec<_>>().join(", ")
        )
    } else {
        format!("`hactl agent show ocf:{provider}:{kind}` shows its parameters")
    };
    Mistake::new(message).help(help).at(given.at)
}

/// Remarks about an agent that can be used all the same.
pub fn remarks(plan: &Plan, meta: &MetaData) -> Vec<Mistake> {
    let mut remarks = Vec::new();
    let Plan { provider, kind, .. } = plan;
    for given in &plan.given {
        if meta.parameter(&given.name).is_some_and(|p| p.deprecated) {
            let message = format!("the parameter `{}` of {kind} is deprecated", given.name);
            remarks.push(Mistake::new(message).at(given.at));
        }
    }
    if meta.has("promote") {
        let message = format!(
            "{kind} has a promoted role, but the daemon only starts and stops it and never promotes it"
        );
        remarks.push(Mistake::new(message));
    }
    if ["IPaddr", "IPaddr2", "IPv6addr"].contains(&kind.as_str()) && provider == "heartbeat" {
        let message = format!(
            "the OCF agent {kind} has neither the lease nor the probe that keep an address from being on two nodes"
        );
        let help = format!("write {kind}::ADDRESS/PREFIX/INTERFACE, which is built in");
        remarks.push(Mistake::new(message).help(help));
    }
    remarks
}
