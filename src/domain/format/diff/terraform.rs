//! Terraform and OpenTofu states: resources by instance, and outputs.

use std::{borrow::Cow, cmp::Ordering, ops::ControlFlow};

use super::{
    super::{
        strings::decode_string,
        terraform::whole_number,
        value::{Kind, Value},
    },
    ChangeKind, Names, Report, Subject,
    compare::{Comparison, Step, by_key, join},
    other_part, present,
};

const EXACT: Comparison = Comparison::EXACT;

/// Up to this many sensitive paths of one instance are compared in any order.
const MAX_SORTED_PATHS: usize = 65_536;

/// Whether the parts compared here have the shapes that this module relies on.
pub(super) fn is_sound(root: Value<'_>) -> bool {
    root.kind() == Kind::Object
        && present(root.get("outputs")).is_none_or(|outputs| outputs.kind() == Kind::Object)
        && present(root.get("resources"))
            .is_none_or(|resources| resources.kind() == Kind::Array && resources.elements().all(is_sound_resource))
}

pub(super) fn compare(old: Value<'_>, new: Value<'_>, report: &mut Report) -> ControlFlow<()> {
    by_key(old, new, &mut |key, old, new| match &*decode_string(key) {
        "version" | "terraform_version" | "serial" | "lineage" => ControlFlow::Continue(()),
        "resources" => resources(present(old), present(new), report),
        "outputs" => outputs(old, new, report),
        _ => other_part(EXACT, &[Step::Key(key)], old, new, report),
    })
}

fn is_sound_resource(resource: Value<'_>) -> bool {
    Resource::of(resource).is_some_and(|resource| resource.instances.elements().all(|instance| Instance::of(instance).is_some()))
}

#[derive(Clone, Copy)]
struct Resource<'a> {
    module: Option<Value<'a>>,
    mode: Value<'a>,
    of_type: Value<'a>,
    name: Value<'a>,
    instances: Value<'a>,
    whole: Value<'a>,
}

#[derive(Clone, Copy)]
struct Instance<'a> {
    key: Option<Value<'a>>,
    deposed: Option<Value<'a>>,
    whole: Value<'a>,
}

fn resources<'a>(old: Option<Value<'a>>, new: Option<Value<'a>>, report: &mut Report) -> ControlFlow<()> {
    let list =
        |value: Option<Value<'a>>| value.into_iter().flat_map(Value::elements).filter_map(Resource::of).collect::<Vec<_>>();
    join(list(old), list(new), Resource::order, &mut |old, new| {
        let resource = old.or(new).expect("a pair has a side");
        if let (Some(old), Some(new)) = (old, new)
            && old.whole.raw() == new.whole.raw()
        {
            return ControlFlow::Continue(());
        }
        let beside = match (old, new) {
            (Some(old), Some(new)) => differing_settings(old.whole, new.whole),
            _ => Names::default(),
        };
        join(instances(old), instances(new), Instance::order, &mut |a, b| match (a, b) {
            (Some(a), Some(b)) => {
                let mut names = differing_attributes(a.whole, b.whole);
                beside.list.iter().for_each(|name| names.add(Cow::Borrowed(name)));
                if names.is_empty() {
                    return ControlFlow::Continue(());
                }
                report.add(ChangeKind::Changed, Subject::Resource, resource.address(b), names)
            }
            (Some(one), None) | (None, Some(one)) => {
                report.add(ChangeKind::of(a, b), Subject::Resource, resource.address(one), Names::default())
            }
            (None, None) => ControlFlow::Continue(()),
        })
    })
}

fn instances(resource: Option<Resource<'_>>) -> Vec<Instance<'_>> {
    resource.into_iter().flat_map(|resource| resource.instances.elements()).filter_map(Instance::of).collect()
}

impl<'a> Resource<'a> {
    /// A resource that has everything it is known by.
    fn of(whole: Value<'a>) -> Option<Resource<'a>> {
        let (mut module, mut mode, mut of_type, mut name, mut instances) = (None, None, None, None, None);
        for member in whole.members() {
            let (place, kind) = match &*member.name() {
                "module" if member.value().kind() == Kind::Null => continue,
                "module" => (&mut module, Kind::String),
                "mode" => (&mut mode, Kind::String),
                "type" => (&mut of_type, Kind::String),
                "name" => (&mut name, Kind::String),
                "instances" => (&mut instances, Kind::Array),
                _ => continue,
            };
            *place = Some(member.value()).filter(|value| value.kind() == kind);
            place.as_ref()?;
        }
        Some(Resource { module, mode: mode?, of_type: of_type?, name: name?, instances: instances?, whole })
    }

    fn order(self, other: Resource<'_>) -> Ordering {
        order_optional(self.module, other.module)
            .then_with(|| self.mode.order(other.mode))
            .then_with(|| self.of_type.order(other.of_type))
            .then_with(|| self.name.order(other.name))
    }

    /// As `terraform state list` prints it.
    fn address(self, instance: Instance<'_>) -> String {
        let text = |value: Value<'_>| value.text().unwrap_or_default().into_owned();
        let mut address = String::new();
        if let Some(module) = self.module {
            address.push_str(&text(module));
            address.push('.');
        }
        if text(self.mode) == "data" {
            address.push_str("data.");
        }
        address.push_str(&text(self.of_type));
        address.push('.');
        address.push_str(&text(self.name));
        match instance.key.map(|key| (key.text(), key.raw())) {
            None => {}
            Some((Some(key), _)) => {
                let key = key.replace('\\', r"\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{");
                address.push_str(&format!("[\"{key}\"]"));
            }
            Some((None, number)) => address.push_str(&format!("[{}]", String::from_utf8_lossy(number))),
        }
        if let Some(deposed) = instance.deposed {
            address.push_str(&format!(" (deposed {})", text(deposed)));
        }
        address
    }
}

impl<'a> Instance<'a> {
    /// An instance that has something to compare.
    fn of(whole: Value<'a>) -> Option<Instance<'a>> {
        let (mut key, mut deposed, mut content) = (None, None, false);
        for member in whole.members() {
            match &*member.name() {
                "index_key" => key = present(Some(member.value())),
                "deposed" => deposed = present(Some(member.value())),
                "attributes" | "attributes_flat" | "schema_version" => content = true,
                _ => {}
            }
        }
        let sound = key.is_none_or(|key| matches!(key.kind(), Kind::String | Kind::Number))
            && deposed.is_none_or(|deposed| deposed.kind() == Kind::String);
        (content && sound).then_some(Instance { key, deposed, whole })
    }

    fn order(self, other: Instance<'_>) -> Ordering {
        let index = |key: Option<Value<'_>>| key.and_then(whole_number).map_or((true, 0), |index| (false, index));
        let keys = index(self.key).cmp(&index(other.key)).then_with(|| order_optional(self.key, other.key));
        keys.then_with(|| order_optional(self.deposed, other.deposed))
    }
}

/// What differs beside the instances: `provider`, `each` and whatever else a resource has.
fn differing_settings(old: Value<'_>, new: Value<'_>) -> Names {
    let mut names = Names::default();
    let _ = by_key(old, new, &mut |key, old, new| {
        let name = decode_string(key);
        let compared = matches!(&*name, "module" | "mode" | "type" | "name" | "instances");
        if !compared && !same_optional(old, new) {
            names.add(Cow::Owned(format!("({name})")));
        }
        ControlFlow::Continue(())
    });
    names
}

fn differing_attributes(old: Value<'_>, new: Value<'_>) -> Names {
    let mut names = Names::default();
    let _ = by_key(old, new, &mut |key, old, new| {
        match &*decode_string(key) {
            "index_key" | "deposed" => {}
            "attributes" | "attributes_flat" if are_objects(old, new) => differing_members(old, new, &mut names),
            "sensitive_attributes" if same_paths(old, new) => {}
            "dependencies" | "depends_on" if is_bare(old) && is_bare(new) => {}
            name if !same_optional(old, new) => names.add(Cow::Owned(format!("({name})"))),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    names
}

fn differing_members<'a>(old: Option<Value<'a>>, new: Option<Value<'a>>, names: &mut Names) {
    let (old, new) = match (present(old), present(new)) {
        (Some(old), Some(new)) => (old, new),
        (Some(one), None) | (None, Some(one)) => return one.members().for_each(|member| names.add(member.name())),
        (None, None) => return,
    };
    let _ = by_key(old, new, &mut |key, old, new| {
        if !old.zip(new).is_some_and(|(old, new)| EXACT.same(old, new)) {
            names.add(decode_string(key));
        }
        ControlFlow::Continue(())
    });
}

fn are_objects(old: Option<Value<'_>>, new: Option<Value<'_>>) -> bool {
    [old, new].into_iter().flat_map(present).all(|value| value.kind() == Kind::Object)
}

/// Terraform 1.11 writes these paths in any order; none at all may be `[]`, `null` or nothing.
fn same_paths(old: Option<Value<'_>>, new: Option<Value<'_>>) -> bool {
    if same_optional(old, new) || (is_bare(old) && is_bare(new)) {
        return true;
    }
    let (Some(old), Some(new)) = (old, new) else { return false };
    let (count, other) = (old.elements().count(), new.elements().count());
    if count != other || count > MAX_SORTED_PATHS || old.kind() != Kind::Array || new.kind() != Kind::Array {
        return false;
    }
    join(old.elements().collect(), new.elements().collect(), Value::order, &mut |a, b| match (a, b) {
        (Some(_), Some(_)) => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    })
    .is_continue()
}

fn outputs<'a>(old: Option<Value<'a>>, new: Option<Value<'a>>, report: &mut Report) -> ControlFlow<()> {
    let mut one = |key: &'a [u8], old: Option<Value<'a>>, new: Option<Value<'a>>| {
        let mut names = Names::default();
        if let (Some(old), Some(new)) = (old, new) {
            if EXACT.same(old, new) {
                return ControlFlow::Continue(());
            }
            differing_members(Some(old), Some(new), &mut names);
        }
        report.add(ChangeKind::of(old, new), Subject::Output, decode_string(key).into_owned(), names)
    };
    match (present(old), present(new)) {
        (Some(old), Some(new)) => by_key(old, new, &mut one),
        (Some(old), None) => old.members().try_for_each(|member| one(member.key(), Some(member.value()), None)),
        (None, Some(new)) => new.members().try_for_each(|member| one(member.key(), None, Some(member.value()))),
        (None, None) => ControlFlow::Continue(()),
    }
}

fn order_optional(a: Option<Value<'_>>, b: Option<Value<'_>>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.order(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn same_optional(old: Option<Value<'_>>, new: Option<Value<'_>>) -> bool {
    match (present(old), present(new)) {
        (Some(old), Some(new)) => EXACT.same(old, new),
        (old, new) => old.is_none() && new.is_none(),
    }
}

fn is_bare(list: Option<Value<'_>>) -> bool {
    present(list).is_none_or(|list| list.kind() == Kind::Array && list.elements().next().is_none())
}
