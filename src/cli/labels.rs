//! `--label` and `--group-by`: labels as a dimension of every command that shows stacks.

use super::Stop;
use crate::analysis::labels::is_joined;
use crate::analysis::narrow::narrow;
use crate::base::labels::LabelFilter;
use crate::model::Session;
use crate::report::inspect::labels;

#[derive(clap::Args)]
pub(super) struct LabelArgs {
    /// Samples with this label only: key=value, key (any value) or !key (none); may be repeated, all must hold
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = filter)]
    filters: Vec<LabelFilter>,
    /// Make the values of this label the root frames
    #[arg(long, value_name = "KEY")]
    group_by: Option<String>,
}

fn filter(text: &str) -> Result<LabelFilter, std::convert::Infallible> {
    Ok(LabelFilter::parse(text))
}

/// The narrowed session with its only profile, or `None` when labels do not matter.
pub(super) fn apply(session: &Session, profile: usize, args: &LabelArgs) -> Result<Option<Session>, Stop> {
    if args.filters.is_empty() && args.group_by.is_none() {
        return Ok(None);
    }
    let Some(p) = session.profiles.get(profile) else { return Ok(None) };
    let known = labels(session, p);
    let wanted = args.filters.iter().map(|f| &f.key).chain(&args.group_by);
    if let Some(key) = wanted.into_iter().find(|key| !known.contains_key(*key) && !is_joined(key)) {
        let keys: Vec<&str> = known.keys().map(String::as_str).collect();
        return Err(Stop::Usage(if keys.is_empty() {
            "the samples of this profile have no labels".to_string()
        } else {
            format!("no sample has a label {key}; there are {}", keys.join(", "))
        }));
    }
    let narrowed = narrow(session, profile, &args.filters, args.group_by.as_deref());
    if narrowed.as_ref().is_some_and(|s| s.profiles.iter().all(|p| p.samples.is_empty())) {
        let filters: Vec<String> = args.filters.iter().map(LabelFilter::to_string).collect();
        return Err(Stop::Usage(format!("no sample passes --label {}", filters.join(" --label "))));
    }
    Ok(narrowed)
}
