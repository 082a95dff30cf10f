//! Where to look at the run behind a token, for people: from the claims of GitHub and GitLab.

use super::claims::Claims;
use crate::domain::names::Labels;

/// The URL of the run and the commit; empty where the claims do not tell, or are not what they should be.
pub(super) fn labels(issuer: &str, claims: &Claims) -> Labels {
    let run_url = github(issuer, claims).or_else(|| gitlab(issuer, claims)).unwrap_or_default();
    let commit = claims.text("sha").filter(|sha| sha.bytes().all(|byte| byte.is_ascii_hexdigit())).unwrap_or_default();
    let labels = Labels { run_url, commit: commit.to_owned(), ..Labels::default() };
    labels.checked().unwrap_or_default()
}

/// A repository and a run, on the server whose issuer this is.
fn github(issuer: &str, claims: &Claims) -> Option<String> {
    let repository = claims.text("repository").filter(|path| is_path(path))?;
    let run = claims.text("run_id").filter(|id| is_number(id))?;
    let server = match issuer.strip_suffix("/_services/token") {
        Some(server) => server.to_owned(),
        None => {
            let host = issuer.strip_prefix("https://token.actions.")?.split('/').next()?;
            format!("https://{}", host.replace("githubusercontent.com", "github.com"))
        }
    };
    let attempt = claims.text("run_attempt").filter(|attempt| is_number(attempt));
    let attempt = attempt.map(|attempt| format!("/attempts/{attempt}")).unwrap_or_default();
    Some(format!("{server}/{repository}/actions/runs/{run}{attempt}"))
}

/// A project and a job; the issuer is the server itself.
fn gitlab(issuer: &str, claims: &Claims) -> Option<String> {
    let project = claims.text("project_path").filter(|path| is_path(path))?;
    let job = claims.text("job_id").filter(|id| is_number(id))?;
    issuer.starts_with("https://").then(|| format!("{}/{project}/-/jobs/{job}", issuer.trim_end_matches('/')))
}

fn is_path(text: &str) -> bool {
    text.contains('/') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(issuer: &str, claims: serde_json::Value) -> (String, String) {
        let labels = labels(issuer, &Claims(claims.as_object().unwrap().clone()));
        (labels.run_url, labels.commit)
    }

    #[test]
    fn run_of_github_is_found_on_its_server() {
        let claims = serde_json::json!({"repository": "acme/infra", "run_id": "42", "run_attempt": "2", "sha": "c0ffee"});
        for (issuer, server) in [
            ("https://token.actions.githubusercontent.com", "https://github.com"),
            ("https://token.actions.githubusercontent.com/acme", "https://github.com"),
            ("https://token.actions.acme.ghe.com", "https://acme.ghe.com"),
            ("https://git.acme.example/_services/token", "https://git.acme.example"),
        ] {
            let url = format!("{server}/acme/infra/actions/runs/42/attempts/2");
            assert_eq!(of(issuer, claims.clone()), (url, "c0ffee".to_owned()));
        }
    }

    #[test]
    fn job_of_gitlab_is_found_on_its_server() {
        let claims = serde_json::json!({"project_path": "acme/eu/infra", "job_id": "7", "sha": "c0ffee"});
        let url = "https://gitlab.example/acme/eu/infra/-/jobs/7".to_owned();
        assert_eq!(of("https://gitlab.example", claims), (url, "c0ffee".to_owned()));
    }

    #[test]
    fn claims_that_are_not_what_they_should_be_make_no_label() {
        let github = "https://token.actions.githubusercontent.com";
        for (repository, run) in [("acme/infra?x", "42"), ("acme/infra", "42/../1"), ("acme", "42"), ("a/b c", "42"), ("a/b", "")]
        {
            assert_eq!(of(github, serde_json::json!({"repository": repository, "run_id": run})).0, "");
        }
        assert_eq!(of(github, serde_json::json!({"sha": "<script>"})).1, "");
        assert_eq!(of("http://x", serde_json::json!({})), (String::new(), String::new()));
    }
}
