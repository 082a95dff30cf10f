//! What a binding wants of a token's claims.

use serde_json::{Map, Value};
use toml::Table;

/// Claims by their path, each with the values that are accepted. All must fit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    path: Vec<String>,
    accepted: Vec<Value>,
}

impl Rules {
    /// From a TOML table: tables in it are objects in the claims, so that a name with dots is one quoted key.
    /// None, if a rule is not a text, an integer, a boolean or a list of those, or if there is no rule.
    pub(super) fn from_table(table: &Table) -> Option<Self> {
        let mut rules = Vec::new();
        collect(table, &mut Vec::new(), &mut rules)?;
        (!rules.is_empty()).then_some(Self(rules))
    }

    /// The path of the first rule that the claims do not fit.
    pub(super) fn first_unmet(&self, claims: &Map<String, Value>) -> Option<String> {
        self.0.iter().find(|rule| !rule.fits(claims)).map(|rule| rule.path.join(" "))
    }
}

impl Rule {
    /// The claim is an accepted value, or a list that has one.
    fn fits(&self, claims: &Map<String, Value>) -> bool {
        let Some((last, objects)) = self.path.split_last() else { return false };
        let object = objects.iter().try_fold(claims, |object, name| object.get(name)?.as_object());
        match object.and_then(|object| object.get(last)) {
            Some(Value::Array(all)) => all.iter().any(|one| self.accepted.contains(one)),
            Some(one) => self.accepted.contains(one),
            None => false,
        }
    }
}

fn collect(table: &Table, path: &mut Vec<String>, rules: &mut Vec<Rule>) -> Option<()> {
    if table.is_empty() {
        return None;
    }
    for (name, value) in table {
        path.push(name.clone());
        match value {
            toml::Value::Table(deeper) => collect(deeper, path, rules)?,
            toml::Value::Array(all) if !all.is_empty() => {
                let accepted = all.iter().map(scalar).collect::<Option<_>>()?;
                rules.push(Rule { path: path.clone(), accepted });
            }
            one => rules.push(Rule { path: path.clone(), accepted: vec![scalar(one)?] }),
        }
        path.pop();
    }
    Some(())
}

fn scalar(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::String(text) => Some(Value::from(text.as_str())),
        toml::Value::Integer(number) => Some(Value::from(*number)),
        toml::Value::Boolean(yes) => Some(Value::from(*yes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(toml: &str) -> Option<Rules> {
        Rules::from_table(&toml.parse().unwrap())
    }

    fn unmet(toml: &str, claims: Value) -> Option<String> {
        rules(toml).unwrap().first_unmet(claims.as_object().unwrap())
    }

    #[test]
    fn every_rule_has_to_fit_exactly() {
        let toml = "repository = 'acme/infra'\nref = ['refs/heads/main', 'refs/heads/next']";
        let claims = |repository: &str, branch: &str| serde_json::json!({"repository": repository, "ref": branch});
        assert_eq!(unmet(toml, claims("acme/infra", "refs/heads/main")), None);
        assert_eq!(unmet(toml, claims("acme/infra", "refs/heads/next")), None);
        for other in ["acme/infra2", "acme/infr", "Acme/infra", "acme/infra ", "", "*"] {
            assert_eq!(unmet(toml, claims(other, "refs/heads/main")).as_deref(), Some("repository"), "{other:?}");
        }
        assert_eq!(unmet(toml, claims("acme/infra", "refs/heads/mainly")).as_deref(), Some("ref"));
        assert_eq!(unmet(toml, serde_json::json!({"repository": "acme/infra"})).as_deref(), Some("ref"));
    }

    #[test]
    fn name_with_dots_is_one_quoted_key() {
        let toml = "'kubernetes.io'.namespace = 'ci'\n'kubernetes.io'.serviceaccount.name = 'deployer'";
        let claims = |name: &str| serde_json::json!({"kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": name}}});
        assert_eq!(unmet(toml, claims("deployer")), None);
        assert_eq!(unmet(toml, claims("other")).as_deref(), Some("kubernetes.io serviceaccount name"));
        let flat =
            serde_json::json!({"kubernetes.io.serviceaccount.name": "deployer", "kubernetes": {"io": {"namespace": "ci"}}});
        assert!(unmet(toml, flat).is_some(), "other places are other claims");
        assert!(unmet(toml, serde_json::json!({"kubernetes.io": "deployer"})).is_some());
    }

    #[test]
    fn value_of_another_type_does_not_fit() {
        assert_eq!(unmet("protected = true", serde_json::json!({"protected": true})), None);
        assert!(unmet("protected = true", serde_json::json!({"protected": "true"})).is_some());
        assert!(unmet("protected = 'true'", serde_json::json!({"protected": true})).is_some());
        assert!(unmet("runner = 7", serde_json::json!({"runner": 7.5})).is_some());
        assert!(unmet("ref = 'x'", serde_json::json!({"ref": null})).is_some());
    }

    #[test]
    fn list_in_the_claims_fits_with_one_of_its_elements() {
        let claims = serde_json::json!({"groups": ["dev", "deployers"], "none": []});
        assert_eq!(unmet("groups = 'deployers'", claims.clone()), None);
        assert!(unmet("groups = 'deploy'", claims.clone()).is_some());
        assert!(unmet("none = ''", claims).is_some());
    }

    #[test]
    fn rules_that_say_nothing_are_none() {
        for toml in
            ["", "ref = []", "ref = {}", "ref = 1.5", "ref = [['x']]", "ref = 2026-01-01", "a.b = {}", "x = 'y'\nref = []"]
        {
            assert_eq!(rules(toml), None, "{toml}");
        }
    }
}
