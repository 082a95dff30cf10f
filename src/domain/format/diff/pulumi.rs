//! Pulumi deployments and checkpoints: resources by URN.

use std::{borrow::Cow, cmp::Ordering, ops::ControlFlow};

use super::{
    super::{
        strings::decode_string,
        value::{Kind, Value},
    },
    ChangeKind, Names, Report, Subject,
    compare::{Comparison, Step, by_key, join},
    other_part, present,
};

/// The key that marks an object as something else than a plain one, and its value for a secret.
const SIGNATURE: &str = "4dabf18193072939515e22adb298388d";
const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";

/// Every update encrypts every secret anew, so that ciphertexts tell nothing.
const BUT_CIPHERTEXT: Comparison =
    Comparison::or(|old, new| [old, new].iter().all(|value| value.get("ciphertext").is_some() && is_secret(*value)));

/// Whether the parts compared here have the shapes that this module relies on.
pub(super) fn is_sound(root: Value<'_>) -> bool {
    let Some(resources) = stack(root).map(|(_, stack)| stack.get("resources")) else { return false };
    let is_sound_resource = |resource: Value<'_>| resource.get("urn").is_some_and(|urn| urn.kind() == Kind::String);
    present(resources).is_none_or(|resources| resources.kind() == Kind::Array && resources.elements().all(is_sound_resource))
}

pub(super) fn compare(old: Value<'_>, new: Value<'_>, report: &mut Report) -> ControlFlow<()> {
    let (Some((path, old)), Some((_, new))) = (stack(old), stack(new)) else { return ControlFlow::Continue(()) };
    by_key(old, new, &mut |key, old, new| match &*decode_string(key) {
        "manifest" => ControlFlow::Continue(()),
        "resources" => resources(present(old), present(new), report),
        _ => {
            let path: Vec<Step<'_>> = path.iter().map(|key| Step::Key(key)).chain([Step::Key(key)]).collect();
            other_part(BUT_CIPHERTEXT, &path, old, new, report)
        }
    })
}

/// The object that has the resources, and the keys that lead there.
fn stack(root: Value<'_>) -> Option<(&'static [&'static [u8]], Value<'_>)> {
    let (path, stack): (&'static [&'static [u8]], _) = match (root.get("deployment"), root.get("checkpoint")) {
        (Some(deployment), _) => (&[b"\"deployment\""], deployment),
        (None, Some(checkpoint)) => (&[b"\"checkpoint\"", b"\"latest\""], checkpoint.get("latest")?),
        (None, None) => return None,
    };
    (stack.kind() == Kind::Object).then_some((path, stack))
}

#[derive(Clone, Copy)]
struct Resource<'a> {
    urn: Value<'a>,
    /// Replaced, and still to be deleted.
    doomed: bool,
    whole: Value<'a>,
}

fn resources<'a>(old: Option<Value<'a>>, new: Option<Value<'a>>, report: &mut Report) -> ControlFlow<()> {
    let list =
        |value: Option<Value<'a>>| value.into_iter().flat_map(Value::elements).filter_map(Resource::of).collect::<Vec<_>>();
    join(list(old), list(new), Resource::order, &mut |old, new| {
        let names = match (old, new) {
            (Some(old), Some(new)) => differing_properties(old.whole, new.whole),
            _ => Names::default(),
        };
        match old.or(new) {
            Some(resource) if old.is_none() || new.is_none() || !names.is_empty() => {
                report.add(ChangeKind::of(old, new), Subject::Resource, resource.address(), names)
            }
            _ => ControlFlow::Continue(()),
        }
    })
}

impl<'a> Resource<'a> {
    fn of(whole: Value<'a>) -> Option<Resource<'a>> {
        let doomed = whole.get("delete").is_some_and(|value| value.raw() == b"true");
        Some(Resource { urn: whole.get("urn")?, doomed, whole })
    }

    fn order(self, other: Resource<'_>) -> Ordering {
        self.urn.order(other.urn).then(self.doomed.cmp(&other.doomed))
    }

    fn address(self) -> String {
        let urn = self.urn.text().unwrap_or_default();
        if self.doomed { format!("{urn} (pending deletion)") } else { urn.into_owned() }
    }
}

fn differing_properties(old: Value<'_>, new: Value<'_>) -> Names {
    let mut names = Names::default();
    let _ = by_key(old, new, &mut |key, old, new| {
        let group = decode_string(key);
        match (&*group, present(old), present(new)) {
            (_, None, None) | ("urn" | "delete", ..) => {}
            ("inputs" | "outputs", old, new) if [old, new].into_iter().flatten().all(|value| value.kind() == Kind::Object) => {
                differing_members(&group, old, new, &mut names);
            }
            (_, Some(old), Some(new)) if BUT_CIPHERTEXT.same(old, new) => {}
            _ => names.add(Cow::Owned(format!("({group})"))),
        }
        ControlFlow::Continue(())
    });
    names
}

fn differing_members<'a>(group: &str, old: Option<Value<'a>>, new: Option<Value<'a>>, names: &mut Names) {
    let mut add = |name: Cow<'_, str>| names.add(Cow::Owned(format!("{group}.{name}")));
    match (old, new) {
        (Some(old), Some(new)) => {
            let _ = by_key(old, new, &mut |key, old, new| {
                if !old.zip(new).is_some_and(|(old, new)| BUT_CIPHERTEXT.same(old, new)) {
                    add(decode_string(key));
                }
                ControlFlow::Continue(())
            });
        }
        (one, other) => one.or(other).into_iter().flat_map(Value::members).for_each(|member| add(member.name())),
    }
}

fn is_secret(value: Value<'_>) -> bool {
    value.get(SIGNATURE).and_then(Value::text).is_some_and(|signature| signature == SECRET)
}
