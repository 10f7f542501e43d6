//! Compares the parameters that a word gives with those that the agent knows.

use super::metadata::MetaData;
use super::notation::{Given, Plan};
use crate::text::Mistake;
use crate::text::nearest;

/// Parameters that every agent of the package takes without naming them.
const COMMON: [&str; 3] = ["OCF_CHECK_LEVEL", "trace_ra", "trace_file"];
/// So many names are listed when none is near to what was written.
const LISTED: usize = 12;

/// The first parameter that cannot be: unknown, given twice, or missing.
pub fn mistake(plan: &Plan, meta: &MetaData) -> Result<(), Mistake> {
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
    let message = format!("{kind} knows no parameter `{}`", given.name);
    let names = || meta.parameters.iter().map(|p| p.name.as_str());
    let help = if let Some(near) = nearest(&given.name, names()) {
        format!("did you mean `{near}`?")
    } else if meta.parameters.len() <= LISTED {
        format!("it knows {}", names().collect::<Vec<_>>().join(", "))
    } else {
        format!("`hactl agent show ocf:{provider}:{kind}` shows what it knows")
    };
    Mistake::new(message).help(help).at(given.at)
}

/// What is worth knowing although the agent can be run.
pub fn remarks(plan: &Plan, meta: &MetaData) -> Vec<Mistake> {
    let mut remarks = Vec::new();
    let Plan { provider, kind, .. } = plan;
    for given in &plan.given {
        if meta.parameter(&given.name).is_some_and(|p| p.deprecated) {
            let message = format!("{kind} wants `{}` to be given no longer", given.name);
            remarks.push(Mistake::new(message).at(given.at));
        }
    }
    if meta.has("promote") {
        let message = format!(
            "{kind} has a promoted role, and had only starts and stops it: it stays as a start leaves it"
        );
        remarks.push(Mistake::new(message));
    }
    if ["IPaddr", "IPaddr2", "IPv6addr"].contains(&kind.as_str()) && provider == "heartbeat" {
        let message = format!(
            "as an OCF agent {kind} has neither the lease nor the probe that keep an address from being on two nodes"
        );
        let help = format!("write {kind}::ADDRESS/PREFIX/INTERFACE, which is built in");
        remarks.push(Mistake::new(message).help(help));
    }
    remarks
}
